"""CIFAR-10, binary version: records of one label byte and 3,072 image bytes (red, green, blue planes of 32 x 32).

Training files calibrate, the test file evaluates. The sample's reader took every ``*.bin`` of a folder for either.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from amctq.errors import InputError, UsageError

RECORD_BYTES = 1 + 3 * 32 * 32
CLASSES = 10
TRAIN_FOLDER = "cifar-10-batches-bin"
TEST_FOLDER = "cifar-10-verify-bin"
_TRAIN_FILES = tuple(f"data_batch_{index}.bin" for index in range(1, 6))
_TEST_FILE = "test_batch.bin"


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Images of one role.

    Attributes:
        pixels: uint8 (N, 3, 32, 32).
        labels: int64 (N,), 0…9.
        source: the files they come from.
        indices: int64 (N,), each image's place in the concatenation of ``source``.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    source: tuple[Path, ...]
    indices: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def indices_sha256(self) -> str:
        """Identifies which images these are: SHA-256 over the indices as little-endian int64."""
        return hashlib.sha256(self.indices.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Cifar10Files:
    """The record files that a directory holds, by role.

    Attributes:
        train: ``data_batch_*.bin``, in order.
        test: ``test_batch.bin``, or None.
    """

    train: tuple[Path, ...]
    test: Path | None


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which images calibrate and which evaluate; no image does both.

    Attributes:
        calibration: the images that calibrate.
        evaluation: the images that evaluate, or None where none were asked for.
        note: how the two were kept apart.
    """

    calibration: Images
    evaluation: Images | None
    note: str


def find_files(directory: Path) -> Cifar10Files:
    """Look for the record files in ``directory``: a root with both folders of the sample guide, or one of them.

    Raises:
        InputError: there is no such directory, or no record file in it.
    """
    if not directory.exists():
        message = f"no dataset at {directory}"
        raise InputError(message, hint="check the path given with --dataset")
    if not directory.is_dir():
        message = f"the dataset {directory} is a file, expected a folder with CIFAR-10 .bin files"
        raise InputError(message, hint=f"give --dataset the folder, {TRAIN_FOLDER} or the one above it")
    train = [directory / TRAIN_FOLDER, directory, directory / TEST_FOLDER]
    test = [directory / TEST_FOLDER, directory, directory / TRAIN_FOLDER]
    files = Cifar10Files(
        train=next((found for folder in train if (found := _existing(folder, _TRAIN_FILES))), ()),
        test=next((folder / _TEST_FILE for folder in test if (folder / _TEST_FILE).exists()), None),
    )
    if not files.train and files.test is None:
        message = f"no CIFAR-10 record file in {directory} (expected {_TRAIN_FILES[0]} …, {_TEST_FILE})"
        hint = f"give --dataset {TRAIN_FOLDER} or the folder above it"
        if (directory / "data_batch_1").exists() or (directory / "cifar-10-batches-py").exists():
            hint = "this is the Python version of CIFAR-10; amctq reads the binary version (cifar-10-binary.tar.gz)"
        raise InputError(message, hint=hint)
    return files


def check_files(files: Cifar10Files) -> None:
    """Refuse a record file whose length cannot be right, without reading it.

    Raises:
        InputError: a file is empty, or no whole number of records long.
    """
    for path in [*files.train, *([files.test] if files.test else [])]:
        _record_count(path)


def split(files: Cifar10Files, *, calibration_images: int, evaluation_images: int | None, seed: int) -> Split:
    """Choose the images that calibrate, by seed, and those that evaluate, from the start of the test file.

    Args:
        files: what the dataset holds.
        calibration_images: how many calibrate.
        evaluation_images: how many evaluate; None for all, 0 for none.
        seed: chooses the calibration images.

    Raises:
        UsageError: more images are asked for than there are.
        InputError: a record file is damaged, or evaluation is asked for and there is no test file.
    """
    if evaluation_images != 0 and files.test is None:
        message = f"no {_TEST_FILE} beside {files.train[0]}: accuracy is measured on test images only"
        raise InputError(message, hint=f"add {_TEST_FILE}, or pass --eval-images 0 to measure no accuracy")
    pool = _read(files.train or (files.test,))  # type: ignore[arg-type]
    shared = not files.train and evaluation_images != 0
    available = len(pool) - 1 if shared else len(pool)  # at least one image is left to evaluate with
    if not 1 <= calibration_images <= available:
        message = f"--calib-images {calibration_images}: there are {available:,} images to calibrate with"
        raise UsageError(message, hint="ask for at least 1 and at most that many")
    chosen = np.sort(np.random.default_rng(seed).choice(len(pool), calibration_images, replace=False))
    calibration = _take(pool, chosen)
    if evaluation_images == 0:
        return Split(calibration=calibration, evaluation=None, note="no evaluation was asked for")
    if files.train:
        rest = _read((files.test,))  # type: ignore[arg-type]
        note = "calibration images come from the training files, evaluation images from the test file"
    else:
        rest = _take(pool, np.setdiff1d(np.arange(len(pool)), chosen))
        note = "there are no training files: calibration images were taken out of the evaluation"
    wanted = len(rest) if evaluation_images is None else evaluation_images
    if wanted > len(rest):
        message = f"--eval-images {wanted}: there are {len(rest):,} images to evaluate with"
        raise UsageError(message, hint="ask for fewer, or pass --eval-images all")
    return Split(calibration=calibration, evaluation=_take(rest, np.arange(wanted)), note=note)


def _existing(folder: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(folder / name for name in names if (folder / name).exists())


def _record_count(path: Path) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise InputError(message, hint="check the file's permissions") from error
    if not path.is_file() or size == 0 or size % RECORD_BYTES:
        found = "no file" if not path.is_file() else f"{size:,} bytes"
        message = f"{path}: found {found}, expected a multiple of {RECORD_BYTES:,} bytes (label and image)"
        raise InputError(message, hint="the file is damaged or not CIFAR-10's binary version; unpack it again")
    return size // RECORD_BYTES


def _read(paths: tuple[Path, ...]) -> Images:
    blocks = []
    for path in paths:
        _record_count(path)
        try:
            records = np.fromfile(path, np.uint8).reshape(-1, RECORD_BYTES)
        except OSError as error:
            message = f"cannot read {path}: {error.strerror}"
            raise InputError(message, hint="check the file's permissions") from error
        wrong = np.flatnonzero(records[:, 0] >= CLASSES)
        if wrong.size:
            message = f"{path}: record {wrong[0]} has label {records[wrong[0], 0]}, expected 0 to {CLASSES - 1}"
            raise InputError(message, hint="the file is damaged or not CIFAR-10 (CIFAR-100 has other records)")
        blocks.append(records)
    records = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
    return Images(
        pixels=records[:, 1:].reshape(-1, 3, 32, 32),
        labels=records[:, 0].astype(np.int64),
        source=paths,
        indices=np.arange(len(records)),
    )


def _take(images: Images, chosen: NDArray[np.int64]) -> Images:
    return Images(
        pixels=images.pixels[chosen],
        labels=images.labels[chosen],
        source=images.source,
        indices=images.indices[chosen],
    )
