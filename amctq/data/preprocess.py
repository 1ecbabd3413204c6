"""From bytes to the tensor that a network takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from amctq.errors import InputError, first_line
from amctq.quant.numerics import Float32Array

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)
# The usual margin of ImageNet evaluation: the shorter side becomes 256, the middle 224 are taken.
_CROP = 224 / 256
_MAX_RESIZED = 1 << 26  # pixels before the middle is taken: of a thin image the longer side grows without limit


class ImageShapeError(InputError):
    """An image cannot be resized, because of its height and width; the caller knows which image it is."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes a tensor: resized, divided by 255, then (x - mean) / std per channel.

    Attributes:
        image_size: height and width of the tensor, pixels.
        mean: of red, green, blue in 0…1.
        std: standard deviation of red, green, blue in 0…1.
        center_crop: the shorter side is resized to image_size × 256 / 224 and the middle taken (ImageNet); else
            the whole image is resized (CIFAR-10).
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    center_crop: bool = False

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a prepared image."""
        return (3, self.image_size, self.image_size)

    @property
    def normalizes(self) -> bool:
        """Whether pixels in 0…1 are changed."""
        return self.mean != (0.0,) * 3 or self.std != (1.0,) * 3

    def changed(
        self,
        *,
        image_size: int | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
    ) -> Preprocessing:
        """The same but for what is not None."""
        return replace(self, image_size=image_size or self.image_size, mean=mean or self.mean, std=std or self.std)

    def __call__(self, images: NDArray[np.uint8]) -> Float32Array:
        """Prepare a batch of uint8 images (N, 3, H, W), red, green, blue; gives float32 (N, *input_shape)."""
        if self.center_crop or images.shape[2:] != (self.image_size, self.image_size):
            images = np.stack([self.resize(image.transpose(1, 2, 0)) for image in images])
        return self.normalize(images)

    def grey(self, images: NDArray[np.uint8]) -> Float32Array:
        """Prepare a batch of uint8 images (N, 1, H, W) of one channel; gives float32 (N, 1, image_size, image_size).

        Mean and standard deviation are those of red, green and blue in the mean.
        """
        mean, std = float(np.mean(self.mean)), float(np.mean(self.std))
        alike = replace(self, mean=(mean,) * 3, std=(std,) * 3)
        return alike(np.repeat(images, 3, axis=1))[:, :1]

    def normalize(self, images: NDArray[np.uint8]) -> Float32Array:
        """uint8 images (N, 3, H, W) of the right size as float32."""
        # One multiplication and one addition for each value, instead of a division, a subtraction and a division.
        scale = (1.0 / (255.0 * np.asarray(self.std))).astype(np.float32).reshape(1, 3, 1, 1)
        shift = (-np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32).reshape(1, 3, 1, 1)
        prepared: Float32Array = images.astype(np.float32) * scale + shift
        return prepared

    def resize(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One uint8 image (H, W, 3) as (3, image_size, image_size), by MindSpore's own bilinear operator.

        Raises:
            ImageShapeError: the image is too thin, or MindSpore does not resize it.
        """
        from mindspore.dataset import vision

        size = self.image_size
        height, width = image.shape[:2]
        shorter, longer = sorted((height, width))
        if self.center_crop and round(size / _CROP) ** 2 * longer > _MAX_RESIZED * shorter:
            message = f"an image of {width:,} x {height:,} pixels is too thin to take its middle"
            raise ImageShapeError(message, hint="crop it, or leave it out")
        try:
            if self.center_crop:
                image = vision.Resize(round(size / _CROP), vision.Inter.LINEAR)(image)
                image = vision.CenterCrop(size)(image)
            else:
                image = vision.Resize((size, size), vision.Inter.LINEAR)(image)
        except RuntimeError as error:  # it refuses to grow a side more than 1,000 times
            message = f"MindSpore does not resize {width:,} x {height:,} pixels for {size}: {first_line(error)}"
            raise ImageShapeError(message, hint="leave the image out, or take a smaller --image-size") from error
        return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


# create_dataset1 and create_dataset2 of the sample (docs/en/reference.md, "Preprocessing").
CIFAR10_224 = Preprocessing(image_size=224, mean=CIFAR10_MEAN, std=CIFAR10_STD)
IMAGENET_224 = Preprocessing(image_size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, center_crop=True)
