"""From bytes to the tensor that a network takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.quant.numerics import Float32Array

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes a tensor: resized, divided by 255, then (x - mean) / std per channel.

    Attributes:
        image_size: height and width in pixels.
        mean: of red, green, blue in 0…1.
        std: standard deviation of red, green, blue in 0…1.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a prepared image."""
        return (3, self.image_size, self.image_size)

    def __call__(self, images: NDArray[np.uint8]) -> Float32Array:
        """Prepare a batch.

        Args:
            images: (N, 3, H, W), red, green, blue.

        Returns:
            float32 (N, 3, image_size, image_size).
        """
        if images.shape[2:] != (self.image_size, self.image_size):
            images = _resize(images, self.image_size)
        scale = (1.0 / (255.0 * np.asarray(self.std))).astype(np.float32).reshape(1, 3, 1, 1)
        shift = (-np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32).reshape(1, 3, 1, 1)
        prepared: Float32Array = images.astype(np.float32) * scale + shift
        return prepared


def _resize(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bilinear, by MindSpore's own operator, as the sample's input pipeline does it."""
    from mindspore.dataset import vision

    resize = vision.Resize((size, size), vision.Inter.LINEAR)
    resized = [resize(image.transpose(1, 2, 0)).transpose(2, 0, 1) for image in images]
    return np.ascontiguousarray(np.stack(resized))
