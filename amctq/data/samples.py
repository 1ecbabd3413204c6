"""Labelled images of one role, and the split of a dataset by role."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from amctq.data.preprocess import Preprocessing
from amctq.errors import InputError, UsageError
from amctq.quant.numerics import Float32Array

Batch: TypeAlias = tuple[Float32Array, NDArray[np.int64]]
Change: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Samples(ABC):
    """Images that are all prepared in the same way, each with its class.

    Attributes:
        sources: where they come from, for the report.
        indices: int64 (N,), the position of each image in its source; ascending.
        labels: int64 (N,), the class of each image; None where only reading the images gives them.
        input_shape: (C, H, W) of a prepared image.
        preprocessing: what prepares them; None if they are prepared already.
    """

    sources: tuple[str, ...]
    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    input_shape: tuple[int, int, int]
    preprocessing: Preprocessing | None

    @property
    def prepared(self) -> bool:
        """Whether the images are prepared already, so that no preprocessing is used."""
        return self.preprocessing is None

    def __len__(self) -> int:
        return len(self.indices)

    @abstractmethod
    def take(self, positions: NDArray[np.int64]) -> Samples:
        """The images at these positions of ``indices``, which are ascending."""

    @abstractmethod
    def batches(self, size: int) -> Iterator[Batch]:
        """Prepared images (n, C, H, W) float32 and labels (n,) int64, in order; the last batch may be smaller.

        Raises:
            InputError: an image cannot be read.
        """

    @abstractmethod
    def chosen(self, positions: NDArray[np.int64], change: Change | None = None) -> Batch:
        """The images at ``positions`` as one batch, in that order; a position may occur more than once.

        Args:
            positions: int64 (n,), of ``indices``.
            change: is called with the images as uint8 (n, 3, H, W) before they are normalized, and returns images of
                that shape; it is not called for images that are prepared already.

        Returns:
            Prepared images (n, C, H, W) float32 and labels (n,) int64.

        Raises:
            InputError: an image cannot be read.
        """

    @property
    def indices_sha256(self) -> str:
        """Identifies which images these are: SHA-256 over the indices as little-endian int64."""
        return hashlib.sha256(self.indices.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """``samples`` in batches of ``size``; each iteration starts again."""

    samples: Samples
    size: int

    @property
    def images(self) -> int:
        """How many images there are in all."""
        return len(self.samples)

    def __len__(self) -> int:
        return math.ceil(len(self.samples) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        return self.samples.batches(self.size)

    def first(self) -> Float32Array:
        """The images of the first batch, prepared once: proof, estimate and checks all use them."""
        return self._first

    @cached_property
    def _first(self) -> Float32Array:
        return next(iter(self))[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """What a ``--dataset`` holds, by role.

    Attributes:
        train: images that calibrate and train; None if there are none.
        test: images that evaluate; None if there are none.
        name: for messages.
        whole: the images have no roles; ``test`` holds all of them.
        classes: names of the class folders of an image folder, in the order of their numbers; else None.
        notices: what the user must know of how the data was read, such as what was passed over.
    """

    train: Samples | None
    test: Samples | None
    name: str
    whole: bool = False
    classes: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Which images calibrate and which evaluate; no image does both.

    Attributes:
        calibration: the images that calibrate.
        evaluation: the images that evaluate, or None where none were asked for.
        note: how the two were separated, for the report.
    """

    calibration: Samples
    evaluation: Samples | None
    note: str


def images_to_calibrate_with(dataset: Dataset, evaluation_images: int | None) -> int:
    """How many images there are to calibrate with; at least one is left to evaluate with, where that is asked for."""
    pool = dataset.train or dataset.test
    assert pool is not None
    return len(pool) - 1 if dataset.train is None and evaluation_images != 0 else len(pool)


def split(dataset: Dataset, *, calibration_images: int, evaluation_images: int | None, seed: int) -> Split:
    """Choose the images that calibrate, by seed, and those that evaluate, from the start of the test images.

    Args:
        dataset: what there is.
        calibration_images: how many calibrate.
        evaluation_images: how many evaluate; None for all, 0 for none.
        seed: chooses the calibration images.

    Raises:
        UsageError: more images are asked for than there are.
        InputError: evaluation is asked for, but there are no test images.
    """
    if evaluation_images != 0 and dataset.test is None:
        message = f"{dataset.name} has no test images, and accuracy is only measured on test images"
        raise InputError(message, hint="add them, or pass --eval-images 0 to measure no accuracy")
    pool = dataset.train or dataset.test
    assert pool is not None
    available = images_to_calibrate_with(dataset, evaluation_images)
    if not 1 <= calibration_images <= available:
        message = f"--calib-images {calibration_images}: there are {available:,} images to calibrate with"
        raise UsageError(message, hint="ask for at least 1 and at most that many")
    chosen = np.sort(np.random.default_rng(seed).choice(len(pool), calibration_images, replace=False))
    calibration = pool.take(chosen)
    if evaluation_images == 0:
        return Split(calibration=calibration, evaluation=None, note="no evaluation was asked for")
    if dataset.train is not None:
        rest = dataset.test
        note = "calibration images come from the training images, evaluation images from the test images"
    else:
        rest = pool.take(np.setdiff1d(np.arange(len(pool)), chosen))
        kind = "the images have no roles" if dataset.whole else "there are no training images"
        note = f"{kind}: calibration images were taken out of the evaluation"
    assert rest is not None
    return Split(calibration=calibration, evaluation=first_images(rest, evaluation_images), note=note)


def first_images(samples: Samples, count: int | None) -> Samples:
    """The first ``count`` images, or all if it is None.

    Raises:
        UsageError: there are fewer.
    """
    if count is None:
        return samples
    if count > len(samples):
        message = f"--eval-images {count}: there are {len(samples):,} images to evaluate with"
        raise UsageError(message, hint="ask for fewer, or pass --eval-images all")
    return samples.take(np.arange(count))


def check_labels(labels: NDArray[np.int64], classes: int) -> None:
    """Compare labels with the number of classes of the network.

    Raises:
        InputError: an image has a class that the network does not have.
    """
    if labels.size and labels.max() >= classes:
        message = f"an image has class {labels.max()}, and the network has {classes} classes (from 0)"
        raise InputError(message, hint="check --num-classes and the labels of --dataset")


def check_finite(images: Float32Array, first: int, where: str) -> None:
    """Refuse images (n, C, H, W) that are no numbers; ``first`` is the index of the first one in ``where``.

    Raises:
        InputError: an image holds NaN or infinity.
    """
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        message = f"{where}: image {first + int(np.argmin(finite))} holds NaN or infinity"
        raise InputError(message, hint="prepare the images again, or leave that one out")


def slices(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of ``size`` that cover ``count`` items; the last one may be shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
