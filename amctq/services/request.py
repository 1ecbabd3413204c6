"""What the requests of several commands have in common: a network, a dataset, a device."""

from __future__ import annotations

import math
from dataclasses import dataclass

from amctq.choices import Device
from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Dataset
from amctq.data.source import DataSource
from amctq.errors import InputError, UsageError
from amctq.networks.registry import ModelSpec


@dataclass(frozen=True, kw_only=True)
class NetworkRequest:
    """A network, how its images are prepared, and where it runs; fields carry the names of the options.

    Attributes:
        model: name in the registry, or ``file.py:function``.
        image_size: height and width that images are resized to; None for the model's own.
        mean: of red, green, blue in 0…1; None for the model's own.
        std: standard deviation of red, green, blue in 0…1; None for the model's own.
        num_classes: of the checkpoint.
        batch_size: images per forward pass.
        eval_images: how many test images evaluate; None for all, 0 for none.
        device: where MindSpore runs.
        device_id: index of the NPU; None for DEVICE_ID, else 0.
    """

    model: str = "resnet50"
    image_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    num_classes: int = 10
    batch_size: int = 32
    eval_images: int | None = None
    device: Device = Device.AUTO
    device_id: int | None = None

    def __post_init__(self) -> None:
        refuse_below("--batch-size", self.batch_size, 1)
        refuse_below("--num-classes", self.num_classes, 2)
        refuse_below("--image-size", self.image_size, 8)
        refuse_below("--eval-images", self.eval_images, 0)
        for option, numbers in (("--mean", self.mean), ("--std", self.std)):
            if numbers is not None and not all(map(math.isfinite, numbers)):
                message = f"{option} {numbers}: expected three finite numbers"
                raise UsageError(message)
        if self.std is not None and min(self.std) <= 0:
            message = f"--std {self.std}: expected three numbers above 0"
            raise UsageError(message)

    def preprocessing(self, spec: ModelSpec) -> Preprocessing:
        """How images are prepared for ``spec``."""
        return spec.preprocessing(self.num_classes).changed(image_size=self.image_size, mean=self.mean, std=self.std)

    def open_dataset(self, source: DataSource, preprocessing: Preprocessing) -> Dataset:
        """Read the dataset.

        Raises:
            UsageError: preprocessing is asked for, and the images come prepared.
        """
        return self.checked(source.open(preprocessing))

    def checked(self, dataset: Dataset) -> Dataset:
        """``dataset``, unless its images do not fit each other or the options.

        Raises:
            UsageError: preprocessing is asked for, and the images come prepared.
            InputError: training and test images have other shapes.
        """
        if dataset.train is not None and dataset.test is not None:
            shapes = [dataset.train.input_shape, dataset.test.input_shape]
            if shapes[0] != shapes[1]:
                message = f"training images of {dataset.name} are {shapes[0]}, test images {shapes[1]}"
                raise InputError(message, hint="prepare both alike")
        given = [
            f"--{name.replace('_', '-')}" for name in ("image_size", "mean", "std") if getattr(self, name) is not None
        ]
        some = dataset.train or dataset.test
        if given and some is not None and some.prepared:
            message = f"{', '.join(given)}: the images of {dataset.name} are float32 and taken as they are"
            raise UsageError(message, hint="leave the option out, or give uint8 images")
        return dataset


def refuse_below(option: str, value: int | None, least: int) -> None:
    """Refuse a number that is too small; None passes.

    Raises:
        UsageError: it is below ``least``.
    """
    if value is not None and value < least:
        message = f"{option} {value}: expected at least {least}"
        raise UsageError(message)
