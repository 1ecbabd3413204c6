"""The samples of one role, and the split of a dataset by role.

A sample is what the network gets, an image or several arrays, and its target, a class or anything that a metric reads.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from amctq.data.inputs import IMAGE, Inputs, InputSpec
from amctq.data.preprocess import Preprocessing
from amctq.errors import InputError, UsageError

# An array (n, …), or a list where targets have several shapes, such as the boxes of an image; None without targets.
Targets: TypeAlias = Any
Batch: TypeAlias = tuple[Inputs, Targets]
Change: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


class Samples(ABC):
    """Samples that are all prepared in the same way, each with its target.

    Attributes:
        sources: where they come from, for the report.
        indices: int64 (N,), the position of each sample in its source; ascending.
        labels: int64 (N,), the class of each sample; None where only reading the samples gives it, or there is none.
        inputs: what the network gets, by name.
        preprocessing: what prepares images; None if the samples are prepared already.
        classified: the targets are classes.
        class_names: by class, what people call it; None where the dataset does not say it.
    """

    sources: tuple[str, ...]
    indices: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    inputs: Mapping[str, InputSpec]
    preprocessing: Preprocessing | None
    classified: bool = True
    class_names: tuple[str, ...] | None = None

    @property
    def indexed(self) -> bool:
        """Whether ``chosen`` can read single samples; else they come in one order only."""
        return True

    @property
    def prepared(self) -> bool:
        """Whether the samples are prepared already, so that no preprocessing is used."""
        return self.preprocessing is None

    def __len__(self) -> int:
        return len(self.indices)

    @abstractmethod
    def take(self, positions: NDArray[np.int64]) -> Samples:
        """The samples at these positions of ``indices``, which are ascending."""

    def renamed(self, names: Mapping[str, str]) -> Samples:
        """The same samples with other names of inputs, in the order of ``names``: new names by present ones."""
        same = list(names.items()) == [(name, name) for name in self.inputs]
        return self if same else self._with_names(names)

    @abstractmethod
    def _with_names(self, names: Mapping[str, str]) -> Samples:
        """What ``renamed`` gives where the names differ."""

    @abstractmethod
    def batches(self, size: int) -> Iterator[Batch]:
        """Inputs and targets, in order; the last batch may be smaller.

        Raises:
            InputError: a sample cannot be read.
        """

    @abstractmethod
    def chosen(self, positions: NDArray[np.int64], change: Change | None = None, *, epoch: int | None = None) -> Batch:
        """The samples at ``positions`` as one batch, in that order; a position may occur more than once.

        Args:
            positions: int64 (n,), of ``indices``.
            change: is called with the images as uint8 (n, 3, H, W) before they are normalized, and returns images of
                that shape; it is not called for samples that are prepared already.
            epoch: of a training that augments by itself; None for the samples as they are.

        Raises:
            InputError: a sample cannot be read.
        """

    @property
    def indices_sha256(self) -> str:
        """Identifies which samples these are: SHA-256 over the indices as little-endian int64."""
        return hashlib.sha256(self.indices.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """``samples`` in batches of ``size``; each iteration starts again."""

    samples: Samples
    size: int

    @property
    def images(self) -> int:
        """How many samples there are in all."""
        return len(self.samples)

    def renamed(self, names: Mapping[str, str]) -> Batches:
        """The same batches with other names of inputs; see ``Samples.renamed``."""
        samples = self.samples.renamed(names)
        return self if samples is self.samples else replace(self, samples=samples)

    def __len__(self) -> int:
        return math.ceil(len(self.samples) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        return self.samples.batches(self.size)

    def first(self) -> Inputs:
        """The inputs of the first batch, prepared once: proof, estimate and checks all use them."""
        return self._first

    @cached_property
    def _first(self) -> Inputs:
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
    """Which images calibrate, which tune and which evaluate; no image does two of these.

    Attributes:
        calibration: the images that calibrate.
        evaluation: the images that evaluate, or None where none were asked for.
        note: how they were separated, for the report.
        tuning: the images on which layers are measured, or None where none were asked for.
    """

    calibration: Samples
    evaluation: Samples | None
    note: str
    tuning: Samples | None = None

    def renamed(self, names: Mapping[str, str]) -> Split:
        """The same samples with other names of inputs; see ``Samples.renamed``."""
        evaluation = None if self.evaluation is None else self.evaluation.renamed(names)
        tuning = None if self.tuning is None else self.tuning.renamed(names)
        return replace(self, calibration=self.calibration.renamed(names), evaluation=evaluation, tuning=tuning)


def images_to_calibrate_with(dataset: Dataset, evaluation_images: int | None) -> int:
    """How many images there are to calibrate with; at least one is left to evaluate with, where that is asked for."""
    pool = dataset.train or dataset.test
    assert pool is not None
    return len(pool) - 1 if dataset.train is None and evaluation_images != 0 else len(pool)


def images_to_tune_with(dataset: Dataset, calibration_images: int, evaluation_images: int | None) -> int:
    """How many images neither calibrate nor are needed to evaluate; below 0 where too many calibrate.

    Where all images have to do everything, and all others evaluate, half of these.
    """
    pool = dataset.train or dataset.test
    assert pool is not None
    left = len(pool) - calibration_images
    if dataset.train is not None:
        return left
    return left // 2 if evaluation_images is None else left - evaluation_images


def split(
    dataset: Dataset,
    *,
    calibration_images: int,
    evaluation_images: int | None,
    seed: int,
    tuning_images: int = 0,
) -> Split:
    """Choose the images that calibrate and those that tune, by seed, and those that evaluate, from the start.

    Which images calibrate does not depend on how many tune.

    Args:
        dataset: what there is.
        calibration_images: how many calibrate.
        evaluation_images: how many of the test images evaluate; None for all, 0 for none.
        seed: chooses the calibration images.
        tuning_images: how many tune; from where the calibration images come.

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
    calibration, tuning = pool.take(chosen), None
    left, roles = np.setdiff1d(np.arange(len(pool)), chosen), "calibration images"
    if tuning_images:
        if tuning_images > available - calibration_images:
            message = f"--tuning-images {tuning_images}: {available - calibration_images:,} images are left for that"
            raise UsageError(message, hint="ask for fewer, or for fewer --calib-images")
        tunes = np.sort(np.random.default_rng((seed, 1)).choice(left, tuning_images, replace=False))
        tuning, left, roles = pool.take(tunes), np.setdiff1d(left, tunes), "calibration and tuning images"
    if evaluation_images == 0:
        return Split(calibration=calibration, evaluation=None, note="no evaluation was asked for", tuning=tuning)
    if dataset.train is not None:
        rest = dataset.test
        note = f"{roles} come from the training images, evaluation images from the test images"
    else:
        rest = pool.take(left)
        kind = "the images have no roles" if dataset.whole else "there are no training images"
        note = f"{kind}: {roles} were taken out of the evaluation"
    assert rest is not None
    evaluation = first_images(rest, evaluation_images)
    return Split(calibration=calibration, evaluation=evaluation, note=note, tuning=tuning)


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


def check_finite(inputs: Inputs, first: int, where: str) -> None:
    """Refuse samples that are no numbers; ``first`` is the index of the first one in ``where``.

    Raises:
        InputError: a sample holds NaN or infinity.
    """
    for name, array in inputs.items():
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            what = IMAGE if name == IMAGE else f"input {name} of sample"
            message = f"{where}: {what} {first + int(np.argmin(finite))} holds NaN or infinity"
            raise InputError(message, hint="prepare the data again, or leave that one out")


def slices(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of ``size`` that cover ``count`` items; the last one may be shorter."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
