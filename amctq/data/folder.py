"""Image folders: one folder for each class, its images in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Batch, Change, Dataset, Samples, slices
from amctq.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})
_TRAIN_FOLDERS, _TEST_FOLDERS = ("train", "training"), ("val", "validation", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderSamples(Samples):
    """Images in files, decoded when they are needed.

    Attributes:
        files: of the images, (N,).
        labels: int64 (N,), the position of the class folder in the sorted list of class folders.
        preprocessing: how they are prepared.
        sources: see Samples.
        indices: see Samples.
    """

    files: tuple[Path, ...]
    labels: NDArray[np.int64]
    preprocessing: Preprocessing
    sources: tuple[str, ...]
    indices: NDArray[np.int64]

    @property
    def input_shape(self) -> tuple[int, int, int]:  # type: ignore[override]
        """(C, H, W) of a prepared image."""
        return self.preprocessing.input_shape

    def take(self, positions: NDArray[np.int64]) -> FolderSamples:
        """The images at these positions."""
        files = tuple(self.files[position] for position in positions)
        return replace(self, files=files, labels=self.labels[positions], indices=self.indices[positions])

    def batches(self, size: int) -> Iterator[Batch]:
        """Prepared images and labels."""
        for part in slices(len(self), size):
            yield self.chosen(np.arange(part.start, part.stop))

    def chosen(self, positions: NDArray[np.int64], change: Change | None = None) -> Batch:
        """The images, resized, changed and then normalized."""
        images = np.stack([self.preprocessing.resize(_decode(self.files[position])) for position in positions])
        if change is not None:
            images = change(images)
        return self.preprocessing.normalize(images), self.labels[positions]


def find_image_folder(directory: Path) -> bool:
    """Whether there are class folders with images in ``directory``, by role or without one."""
    return any(_class_folders(place) for place in (directory, *_role_folders(directory)))


def open_image_folder(directory: Path, preprocessing: Preprocessing) -> Dataset:
    """Class folders under ``train`` and ``val`` (or ``test``), or directly in ``directory``.

    Raises:
        InputError: the roles do not have the same classes.
    """
    train = _first(directory, _TRAIN_FOLDERS)
    test = _first(directory, _TEST_FOLDERS)
    if train is None and test is None:
        return Dataset(train=None, test=_samples(directory, directory, preprocessing), name=str(directory), whole=True)
    if train is not None and test is not None:
        classes = [[folder.name for folder in _class_folders(place)] for place in (train, test)]
        if classes[0] != classes[1]:
            odd = sorted(set(classes[0]) ^ set(classes[1]))
            message = f"{train} and {test} do not have the same classes: {', '.join(odd[:5])}"
            raise InputError(message, hint="a class has the number of its folder, so both need all folders")
    return Dataset(
        train=None if train is None else _samples(train, directory, preprocessing),
        test=None if test is None else _samples(test, directory, preprocessing),
        name=str(directory),
    )


def _role_folders(directory: Path) -> list[Path]:
    return [directory / name for name in (*_TRAIN_FOLDERS, *_TEST_FOLDERS)]


def _first(directory: Path, names: tuple[str, ...]) -> Path | None:
    return next((directory / name for name in names if _class_folders(directory / name)), None)


def _class_folders(place: Path) -> list[Path]:
    if not place.is_dir():
        return []
    return sorted(folder for folder in place.iterdir() if folder.is_dir() and _images(folder))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def _samples(place: Path, root: Path, preprocessing: Preprocessing) -> FolderSamples:
    found = [(path, label) for label, folder in enumerate(_class_folders(place)) for path in _images(folder)]
    return FolderSamples(
        files=tuple(path for path, _ in found),
        labels=np.asarray([label for _, label in found], np.int64),
        preprocessing=preprocessing,
        sources=(str(place.relative_to(root.parent)),),
        indices=np.arange(len(found)),
    )


def _decode(path: Path) -> NDArray[np.uint8]:
    """One image as uint8 (H, W, 3), red, green, blue; grey and transparent ones too."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise errors of many kinds
        message = f"{path} is damaged or not an image"
        raise InputError(message, hint="replace it, or remove it from the folder") from error
