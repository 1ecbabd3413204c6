"""The images of class folders, decoded when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amctq.data.class_folders import ClassFolder, find_roles, nested, read_classes
from amctq.data.image_file import decode
from amctq.data.inputs import IMAGE, InputSpec
from amctq.data.passed_over import PassedOver, shown
from amctq.data.preprocess import ImageShapeError, Preprocessing
from amctq.data.samples import Batch, Change, Dataset, Samples, slices
from amctq.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderSamples(Samples):
    """Images in files, decoded when they are needed.

    Attributes:
        files: of the images, (N,).
        labels: int64 (N,), the position of the class folder in the sorted list of class folders.
        preprocessing: how they are prepared.
        sources: see Samples.
        indices: see Samples.
        image_name: what the network calls its images.
        class_names: see Samples.
    """

    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    preprocessing: Preprocessing
    sources: tuple[str, ...]
    indices: NDArray[np.int64]
    image_name: str = IMAGE
    class_names: tuple[str, ...] | None = None

    @property
    def inputs(self) -> Mapping[str, InputSpec]:  # type: ignore[override]
        """A prepared image, (C, H, W)."""
        return {self.image_name: InputSpec(shape=self.preprocessing.input_shape)}

    def _with_names(self, names: Mapping[str, str]) -> FolderSamples:
        return replace(self, image_name=names[self.image_name])

    def take(self, positions: NDArray[np.int64]) -> FolderSamples:
        """The images at these positions."""
        files = tuple(self.files[position] for position in positions)
        return replace(self, files=files, labels=self.labels[positions], indices=self.indices[positions])

    def batches(self, size: int) -> Iterator[Batch]:
        """Prepared images and labels."""
        for part in slices(len(self), size):
            yield self.chosen(np.arange(part.start, part.stop))

    def chosen(self, positions: NDArray[np.int64], change: Change | None = None, *, epoch: int | None = None) -> Batch:
        """The images, resized, changed and then normalized."""
        del epoch  # ``change`` knows it
        images = np.stack([self._prepared(self.files[position]) for position in positions])
        if change is not None:
            images = change(images)
        return {self.image_name: self.preprocessing.normalize(images)}, self.labels[positions]

    def _prepared(self, path: Path) -> NDArray[np.uint8]:
        try:
            return self.preprocessing.resize(decode(path))
        except MemoryError as error:
            message = f"{path} needs more memory than there is"
            raise InputError(message, hint="save it smaller") from error
        except ImageShapeError as error:
            message = f"{path}: {error.message}"
            raise InputError(message, hint=error.hint) from error


def open_image_folder(directory: Path, preprocessing: Preprocessing) -> Dataset:
    """Class folders under ``train`` and ``val`` (or ``test``), or directly in ``directory``.

    Raises:
        InputError: the roles do not have the same classes, or a class has no readable image.
    """
    over = PassedOver()
    roles = find_roles(directory, over)
    whole = roles.train is None and roles.test is None
    places = (roles.train, directory if whole else roles.test)
    train, test = (None if place is None else read_classes(place, over) for place in places)
    names = tuple(found.name for found in (test if train is None else train) or ())
    if train is not None and test is not None:
        check_same_classes(names, tuple(found.name for found in test), f"{roles.train} and {roles.test}")
    notices = [*over.notices(str(directory)), *_numbering(directory, names)]
    samples = [
        None if place is None or classes is None else _samples(place, classes, directory, preprocessing)
        for place, classes in zip(places, (train, test), strict=True)
    ]
    for place, classes in zip(places, (train, test), strict=True):
        if place is not None and classes is not None and (inside := nested(place, classes)):
            notices.append(f"{place}: {inside:,} images in folders inside a class folder are taken as that class")
    return Dataset(
        train=samples[0], test=samples[1], name=str(directory), whole=whole, classes=names, notices=tuple(notices)
    )


def check_same_classes(train: tuple[str, ...], test: tuple[str, ...], where: str) -> None:
    """Compare the names of class folders.

    Raises:
        InputError: they differ.
    """
    if train != test:
        odd = sorted(set(train) ^ set(test))
        message = f"{where} do not have the same classes: {shown(odd)}"
        raise InputError(message, hint="a class has the number of its folder, so both need all folders")


def _numbering(directory: Path, names: tuple[str, ...]) -> list[str]:
    """A notice where folders are numbers in another order than their names."""
    if not all(name.isascii() and name.isdigit() for name in names):
        return []
    wrong = next((index for index in range(1, len(names)) if int(names[index]) < int(names[index - 1])), None)
    if wrong is None:
        return []
    return [
        f"{directory}: class folders are numbered in the order of their names: {names[wrong]} is class {wrong}, "
        f"after {names[wrong - 1]}"
    ]


def _samples(place: Path, classes: Sequence[ClassFolder], root: Path, preprocessing: Preprocessing) -> FolderSamples:
    counts = [len(found.images) for found in classes]
    return FolderSamples(
        files=tuple(path for found in classes for path in found.images),
        labels=np.repeat(np.arange(len(classes), dtype=np.int64), counts),
        preprocessing=preprocessing,
        sources=(str(place.relative_to(root.parent)),),
        indices=np.arange(sum(counts)),
        class_names=tuple(found.name for found in classes),
    )
