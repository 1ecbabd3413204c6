"""The images that ``amctq qat`` uses for training, calibration and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amctq.data.folder import check_same_classes
from amctq.data.samples import Dataset, Samples, Split, split
from amctq.data.source import DataSource
from amctq.errors import InputError, UsageError
from amctq.progress import Reporter
from amctq.services.qat.plan import QatPlan
from amctq.services.run.plan import CALIB_IMAGES
from amctq.training.batches import training_subset
from amctq.training.recipe import Recipe, resolve_recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class QatImages:
    """The images for training, calibration and evaluation.

    Attributes:
        training: the training images that are used.
        split: the calibration images, taken from the training images, and the evaluation images.
    """

    training: Samples
    split: Split

    def renamed(self, names: Mapping[str, str]) -> QatImages:
        """The same images with other names of inputs; see ``Samples.renamed``."""
        return QatImages(training=self.training.renamed(names), split=self.split.renamed(names))

    @property
    def evaluation(self) -> Samples | None:
        """The evaluation images; None if there are none."""
        return self.split.evaluation


def open_images(plan: QatPlan, reporter: Reporter) -> Dataset:
    """Open the datasets, say what was passed over, and find their training and test images.

    Raises:
        UsageError: preprocessing options are given, but the images are already preprocessed.
        InputError: there are no training images, or no test images, or the two do not match.
    """
    request = plan.request

    def opened(source: DataSource) -> Dataset:
        return request.open_dataset(source, request.preprocessing(plan.spec), reporter, classes=plan.num_classes)

    dataset = opened(plan.data)
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
    other = opened(plan.evaluation_data)
    if other.test is None and request.eval_images != 0:
        message = f"--eval-dataset {other.name} has no test images, only training images"
        raise InputError(message, hint="give the folder with test_batch.bin; training images never evaluate")
    if dataset.whole and other.whole and _same_place(request.train_dataset, request.eval_dataset):
        message = f"--train-dataset and --eval-dataset are both {dataset.name}, whose images have no roles"
        raise InputError(message, hint="give two sets: accuracy on training images proves nothing")
    both = f"{dataset.name} and {other.name}"
    if dataset.classes is not None and other.classes is not None:
        check_same_classes(dataset.classes, other.classes, both)
    return request.checked(Dataset(train=train, test=other.test, name=both), plan.num_classes)


def _same_place(one: str | Path | None, other: str | Path | None) -> bool:
    return str(one) == str(other) or Path(str(one)).resolve() == Path(str(other)).resolve()


def choose_images(plan: QatPlan, dataset: Dataset) -> QatImages:
    """Choose the images for training, calibration and evaluation.

    Raises:
        UsageError: more images are asked for than exist.
        InputError: the training images cannot be read by index.
    """
    request = plan.request
    assert dataset.train is not None
    if request.train_images is not None and request.train_images > len(dataset.train):
        message = f"--train-images {request.train_images}: there are {len(dataset.train):,} images to train with"
        raise UsageError(message, hint="ask for fewer, or leave the option out")
    dataset.train.chosen(np.zeros(1, np.int64))  # a stream has no access by index: refused now, not after an hour
    return QatImages(
        training=training_subset(dataset.train, request.train_images, request.seed),
        split=split(
            dataset,
            calibration_images=plan.calibration_images(min(CALIB_IMAGES, len(dataset.train)), len(dataset.train)),
            evaluation_images=request.eval_images,
            seed=request.seed,
        ),
    )


def recipe_for(plan: QatPlan, images: QatImages) -> Recipe:
    """Make the recipe: how the network is trained.

    Raises:
        UsageError: the options of the recipe are not possible.
    """
    return resolve_recipe(plan.request.recipe_options, images=len(images.training), batch_size=plan.batch_size)
