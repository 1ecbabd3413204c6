"""CIFAR-10, binary version: records of one label byte and 3,072 image bytes (red, green, blue planes of 32 x 32).

Training files are for calibration, the test file is for evaluation. The sample's reader used every ``*.bin`` for both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amctq.data.arrays import ArraySamples
from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Dataset
from amctq.errors import InputError
from amctq.regular_file import open_regular

RECORD_BYTES = 1 + 3 * 32 * 32
CLASSES = 10
_MAX_BYTES = 1 << 30
_MOST_NAMES = 4096  # bytes
TRAIN_FOLDER = "cifar-10-batches-bin"
TEST_FOLDER = "cifar-10-verify-bin"
CLASS_NAMES_FILE = "batches.meta.txt"
_TRAIN_FILES = tuple(f"data_batch_{index}.bin" for index in range(1, 6))
_TEST_FILE = "test_batch.bin"
_BESIDE = (CLASS_NAMES_FILE, "readme.html")
# The eight files of the archive, and the folders that the sample guide puts them in.
LAYOUT = {
    **{name: (TRAIN_FOLDER, TEST_FOLDER) for name in _BESIDE},
    **{name: (TRAIN_FOLDER,) for name in _TRAIN_FILES},
    _TEST_FILE: (TEST_FOLDER,),
}


@dataclass(frozen=True, kw_only=True)
class Cifar10Files:
    """The record files that a directory holds, by role.

    Attributes:
        train: ``data_batch_*.bin``, in order.
        test: ``test_batch.bin``, or None.
    """

    train: tuple[Path, ...]
    test: Path | None


@dataclass(kw_only=True)
class RecordCounter:
    """Checks the bytes of a record file, which come in pieces of any length.

    Attributes:
        name: of the file, for messages.
        length: bytes so far.
        classes: number of images by class, int64 (10,).
    """

    name: str
    length: int = 0
    classes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(CLASSES, np.int64))

    @property
    def images(self) -> int:
        """Records so far; the last one may be incomplete."""
        return -(-self.length // RECORD_BYTES)

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            InputError: a label is not a class.
        """
        labels = np.frombuffer(piece, np.uint8)[-self.length % RECORD_BYTES :: RECORD_BYTES]
        _check_labels(labels, self.name, self.images)
        self.classes += np.bincount(labels, minlength=CLASSES)
        self.length += len(piece)

    def finish(self) -> None:
        """Check the length, after the last byte.

        Raises:
            InputError: the file is empty, or its last record is incomplete.
        """
        _check_length(self.length, self.name)


def is_record_file(name: str) -> bool:
    """Whether one of ``LAYOUT`` holds records."""
    return name not in _BESIDE


def has_record_files(directory: Path) -> bool:
    """Whether there is any record file where ``find_files`` looks."""
    places = (directory, directory / TRAIN_FOLDER, directory / TEST_FOLDER)
    return any(_existing(place, (*_TRAIN_FILES, _TEST_FILE)) for place in places)


def find_files(directory: Path) -> Cifar10Files:
    """Look for the record files in ``directory``: a root with both folders of the sample guide, or one of them.

    Raises:
        InputError: there is no record file in it.
    """
    train = [directory / TRAIN_FOLDER, directory, directory / TEST_FOLDER]
    test = [directory / TEST_FOLDER, directory, directory / TRAIN_FOLDER]
    files = Cifar10Files(
        train=next((found for folder in train if (found := _existing(folder, _TRAIN_FILES))), ()),
        test=next((folder / _TEST_FILE for folder in test if (folder / _TEST_FILE).exists()), None),
    )
    if not files.train and files.test is None:
        message = f"no dataset in {directory} (expected {_TRAIN_FILES[0]} …, {_TEST_FILE}, or a folder for each class)"
        hint = f"give --dataset {TRAIN_FOLDER}, the folder above it, or an image folder"
        if (directory / "data_batch_1").exists() or (directory / "cifar-10-batches-py").exists():
            hint = "this is the Python version of CIFAR-10; amctq reads the binary version (cifar-10-binary.tar.gz)"
        raise InputError(message, hint=hint)
    return files


def check_files(files: Cifar10Files) -> None:
    """Check the lengths of the record files, without reading them.

    Raises:
        InputError: a file is empty, or its last record is incomplete.
    """
    for path in [*files.train, *([files.test] if files.test else [])]:
        _record_count(path)


def open_cifar(files: Cifar10Files, preprocessing: Preprocessing) -> Dataset:
    """Read the record files.

    Raises:
        InputError: a record file is damaged.
    """
    return Dataset(
        train=_read(files.train, preprocessing) if files.train else None,
        test=_read((files.test,), preprocessing) if files.test else None,
        name=str((files.train or (files.test,))[0].parent),  # type: ignore[union-attr]
    )


def _existing(folder: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(folder / name for name in names if (folder / name).exists())


def _record_count(path: Path) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise InputError(message, hint="check the file's permissions") from error
    _check_length(size if path.is_file() else None, path)
    if size > _MAX_BYTES:
        message = f"{path} has {size:,} bytes, more than the {_MAX_BYTES:,} of any file of CIFAR-10"
        raise InputError(message, hint="CIFAR-10 has 30,730,000 in each of its files; unpack it again")
    return size // RECORD_BYTES


def _check_length(size: int | None, where: Path | str) -> None:
    if not size or size % RECORD_BYTES:
        found = "no file" if size is None else f"{size:,} bytes"
        message = f"{where}: found {found}, expected a multiple of {RECORD_BYTES:,} bytes (label and image)"
        raise InputError(message, hint="the file is damaged or not CIFAR-10's binary version; unpack it again")


def _check_labels(labels: NDArray[np.uint8], where: Path | str, first: int = 0) -> None:
    """Refuse a label that is not a class; ``first`` is the number of the first record."""
    wrong = np.flatnonzero(labels >= CLASSES)
    if wrong.size:
        message = f"{where}: record {first + wrong[0]} has label {labels[wrong[0]]}, expected 0 to {CLASSES - 1}"
        raise InputError(message, hint="the file is damaged or not CIFAR-10 (CIFAR-100 has other records)")


def _read(paths: tuple[Path, ...], preprocessing: Preprocessing) -> ArraySamples:
    blocks = []
    for path in paths:
        _record_count(path)
        try:
            with open_regular(path) as stream:
                content = np.fromfile(stream, np.uint8)
        except OSError as error:
            message = f"cannot read {path}: {error.strerror}"
            raise InputError(message, hint="check the file's permissions") from error
        _check_length(content.size, path)
        records = content.reshape(-1, RECORD_BYTES)
        _check_labels(records[:, 0], path)
        blocks.append(records)
    records = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return ArraySamples(
        pixels=records[:, 1:].reshape(-1, 3, 32, 32),
        labels=records[:, 0].astype(np.int64),
        preprocessing=preprocessing,
        sources=tuple(path.name for path in paths),
        indices=np.arange(len(records)),
        class_names=_class_names(paths[0].with_name(CLASS_NAMES_FILE)),
    )


def _class_names(path: Path) -> tuple[str, ...] | None:
    """The names of the classes, of the file that lies beside the records; None where it is not there or something else.

    Nothing but a report reads them, so a file that is not right is no reason to refuse the images.
    """
    try:
        with open_regular(path) as stream:
            content = stream.read(_MOST_NAMES).decode()
    except (OSError, ValueError):
        return None
    names = tuple(filter(None, map(str.strip, content.splitlines())))
    return names if len(names) == CLASSES else None
