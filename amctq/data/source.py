"""What ``--dataset`` names: CIFAR-10 files, an image folder, a ``.npz`` file, or a function of the user."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amctq.data.arrays import open_npz
from amctq.data.cifar import check_files, find_files, has_record_files, open_cifar
from amctq.data.class_folders import holds_images
from amctq.data.factory import open_factory
from amctq.data.folder import open_image_folder
from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Dataset
from amctq.errors import InputError
from amctq.files import reading
from amctq.plugins import is_factory
from amctq.regular_file import why_no_file


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A dataset that has been found but not read.

    Attributes:
        kind: ``cifar10``, ``image-folder``, ``npz`` or ``factory``.
        open: reads it; the images of a factory are not prepared.
    """

    kind: str
    open: Callable[[Preprocessing], Dataset]


def find_dataset(text: str) -> DataSource:
    """Find out what ``text`` names, from the names and lengths of files only.

    Raises:
        InputError: there is nothing, or nothing that amctq can read.
    """
    with reading(f"--dataset {text}"):
        return _find_dataset(text)


def _find_dataset(text: str) -> DataSource:
    path = Path(text)
    if not path.exists():
        if is_factory(text):
            return DataSource(kind="factory", open=lambda _: open_factory(text))
        message = f"no dataset at {text}"
        raise InputError(message, hint="check the path given with --dataset")
    if path.suffix.lower() == ".npz" and path.is_file():
        return DataSource(kind="npz", open=lambda preprocessing: open_npz(path, preprocessing))
    if path.suffix.lower() == ".npy" and path.is_file():
        message = f"the dataset {text} is one array, and images need labels"
        raise InputError(message, hint="write both to one file: numpy.savez('data.npz', images=…, labels=…)")
    if not path.is_dir():
        found = (why_no_file(path) or "it is a file").partition(",")[0]
        message = f"the dataset {text}: {found}, expected a folder, a .npz file or file.py:function"
        raise InputError(message, hint="for CIFAR-10 give the folder with the .bin files, or the one above it")
    if not has_record_files(path) and holds_images(path):
        return DataSource(kind="image-folder", open=lambda preprocessing: open_image_folder(path, preprocessing))
    files = find_files(path)
    check_files(files)
    return DataSource(kind="cifar10", open=lambda preprocessing: open_cifar(files, preprocessing))
