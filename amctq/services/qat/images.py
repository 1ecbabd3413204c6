"""Which images of ``amctq qat`` train, which calibrate and which evaluate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amctq.data.samples import Dataset, Samples, Split, split
from amctq.errors import InputError, UsageError
from amctq.services.qat.plan import QatPlan
from amctq.services.run.plan import CALIB_IMAGES
from amctq.training.batches import training_subset
from amctq.training.recipe import Recipe, resolve_recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class QatImages:
    """Which images train, which calibrate and which evaluate.

    Attributes:
        training: the images that train.
        split: those that calibrate, all of them training images, and those that evaluate.
    """

    training: Samples
    split: Split

    @property
    def evaluation(self) -> Samples | None:
        """The images that evaluate; None for none."""
        return self.split.evaluation


def open_images(plan: QatPlan) -> Dataset:
    """Read the images, and tell training from test images.

    Raises:
        UsageError: preprocessing is asked for, and the images come prepared.
        InputError: there are no training images, or no test images, or they do not fit each other.
    """
    request = plan.request
    preprocessing = request.preprocessing(plan.spec)
    dataset = request.open_dataset(plan.data, preprocessing)
    if request.train_dataset is None:
        if dataset.train is None:
            kind = "its images have no roles" if dataset.whole else "it holds only test images"
            message = f"{dataset.name} has no training images: {kind}"
            raise InputError(message, hint="add them, or give --train-dataset and --eval-dataset")
        return dataset
    train = dataset.train or (dataset.test if dataset.whole else None)
    if train is None:
        message = f"--train-dataset {dataset.name} has no training images, only test images"
        raise InputError(message, hint="give the folder with data_batch_*.bin; test images never train")
    other = request.open_dataset(plan.evaluation_data, preprocessing)
    if other.test is None and request.eval_images != 0:
        message = f"--eval-dataset {other.name} has no test images, only training images"
        raise InputError(message, hint="give the folder with test_batch.bin; training images never evaluate")
    if dataset.whole and other.whole and _same_place(request.train_dataset, request.eval_dataset):
        message = f"--train-dataset and --eval-dataset are both {dataset.name}, whose images have no roles"
        raise InputError(message, hint="give two sets: what has been trained on proves nothing")
    return request.checked(Dataset(train=train, test=other.test, name=f"{dataset.name} and {other.name}"))


def _same_place(one: str | Path | None, other: str | Path | None) -> bool:
    return str(one) == str(other) or Path(str(one)).resolve() == Path(str(other)).resolve()


def choose_images(plan: QatPlan, dataset: Dataset) -> QatImages:
    """Which images train, calibrate and evaluate.

    Raises:
        UsageError: more images are asked for than there are.
        InputError: a training image cannot be had.
    """
    request = plan.request
    assert dataset.train is not None
    if request.train_images is not None and request.train_images > len(dataset.train):
        message = f"--train-images {request.train_images}: there are {len(dataset.train):,} images to train with"
        raise UsageError(message, hint="ask for fewer, or leave the option out")
    dataset.train.chosen(np.zeros(1, np.int64))  # a stream gives none by its index: better said now than after an hour
    return QatImages(
        training=training_subset(dataset.train, request.train_images, request.seed),
        split=split(
            dataset,
            calibration_images=plan.calibration_images(min(CALIB_IMAGES, len(dataset.train))),
            evaluation_images=request.eval_images,
            seed=request.seed,
        ),
    )


def recipe_for(plan: QatPlan, images: QatImages) -> Recipe:
    """How the network is trained.

    Raises:
        UsageError: what was said of it cannot be.
    """
    return resolve_recipe(plan.request.recipe_options, images=len(images.training), batch_size=plan.batch_size)
