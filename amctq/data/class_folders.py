"""Where an image folder has its classes: one visible folder each, with its images in it and in folders inside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from amctq.data.image_file import SUFFIXES, is_image
from amctq.data.links_back import ClassPlaces
from amctq.data.passed_over import PassedOver, is_hidden, shown
from amctq.errors import InputError
from amctq.files import reading

_TRAIN, _TEST = ("train", "training"), ("val", "valid", "validation", "test", "testing")
_DEEPEST = 8  # folders inside a class folder
_MAX_OTHERS = 10_000  # files before the first image: then it is another kind of folder, such as /
_HIDDEN, _NO_CLASS = "hidden or system entries", "files outside a class folder"


@dataclass(frozen=True, kw_only=True)
class ClassFolder:
    """A class and its images.

    Attributes:
        name: of the folder.
        images: its files, sorted.
    """

    name: str
    images: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class RoleFolders:
    """Which folders have class folders in them.

    Attributes:
        train: of the training images, or None.
        test: of the test images, or None.
    """

    train: Path | None
    test: Path | None


def holds_images(directory: Path) -> bool:
    """Whether there is an image in a visible folder inside ``directory``, at any depth.

    Raises:
        InputError: a folder cannot be read, or there are far too many other files.
    """
    with reading(str(directory)):
        walk = _Walk(PassedOver())
        return any(True for folder in _folders(directory, walk.over) for _ in walk.images_in(folder))


def find_roles(directory: Path, over: PassedOver) -> RoleFolders:
    """Find ``train`` and ``val`` (or ``test``), which are roles if they have folders in them, and not classes.

    Args:
        directory: the dataset.
        over: takes what is passed over beside the roles, if there are any.

    Raises:
        InputError: ``directory`` cannot be read.
    """
    beside = PassedOver()
    with reading(str(directory)):
        folders = _folders(directory, beside, files=_NO_CLASS)
        train, test = (_role(folders, names) for names in (_TRAIN, _TEST))
    if train is not None or test is not None:
        over.names.update(beside.names)
        for folder in folders:
            if folder not in {train, test}:
                over.add("folders beside those of the roles", folder.name)
    return RoleFolders(train=train, test=test)


def read_classes(place: Path, over: PassedOver) -> tuple[ClassFolder, ...]:
    """The visible folders in ``place``, sorted: the class of an image is the position of its folder.

    Args:
        place: the folder.
        over: takes what is passed over.

    Raises:
        InputError: a class has no readable image, or a folder cannot be read, or is a link to nothing or back; or the
            classes are one folder deeper.
    """
    classes = []
    with reading(str(place)):
        _refuse_lost_folders(place)
        folders = _folders(place, over, files=_NO_CLASS)
        places = ClassPlaces.of(place, folders)
        for folder in folders:
            walk = _Walk(over, leads_back=partial(places.leads_back, own=folder))
            found = ClassFolder(name=folder.name, images=tuple(sorted(walk.images_in(folder))))
            if nested(place, [found]):
                _refuse_roles_inside(folder)
            classes.append(found)
    _refuse_wrapped(place, classes)
    empty = [found.name for found in classes if not found.images]
    if empty:
        message = f"{place}: no image in the class folder{'s' * (len(empty) > 1)} {shown(empty)}"
        raise InputError(message, hint="a class has the number of its folder: add images, or remove the folder")
    damaged = [found for found in classes if not any(map(is_image, found.images))]
    if damaged:
        names = shown(found.name for found in damaged)
        message = f"{place}: no readable image in the class folder{'s' * (len(damaged) > 1)} {names}"
        raise InputError(message, hint=f"all its files are damaged or not an image, such as {damaged[0].images[0]}")
    return tuple(classes)


def nested(place: Path, classes: Sequence[ClassFolder]) -> int:
    """How many images are in folders inside a class folder."""
    depth = len(place.parts) + 2
    return sum(len(path.parts) > depth for found in classes for path in found.images)


def _role(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    for name in names:
        for folder in folders:
            if folder.name.casefold() == name and _folders(folder, PassedOver()):
                return folder
    return None


def _refuse_lost_folders(place: Path) -> None:
    """Refuse a link to nothing: without the folder that it stands for, all classes after it have other numbers."""
    lost = [entry.name for entry in _entries(place) if not is_hidden(entry.name) and not (place / entry.name).exists()]
    if lost:
        message = f"{place}: links to nothing: {shown(lost)}"
        raise InputError(message, hint="a class has the number of its folder: mount or copy it, or remove the link")


def _refuse_roles_inside(folder: Path) -> None:
    roles = find_roles(folder, PassedOver())
    if roles.train is not None and roles.test is not None:
        message = f"{folder} is no class: it has {roles.train.name} and {roles.test.name}, each with class folders"
        raise InputError(message, hint=f"give --dataset {folder}")


def _refuse_wrapped(place: Path, classes: Sequence[ClassFolder]) -> None:
    """Refuse one folder around all class folders: every image would be of one class."""
    if len(classes) != 1 or not classes[0].images:
        return
    folder, images = place / classes[0].name, classes[0].images
    inside = {image.relative_to(folder).parts[0] for image in images}
    while len(inside) == 1 and all(len(image.relative_to(folder).parts) > 2 for image in images):
        folder = folder / inside.pop()
        inside = {image.relative_to(folder).parts[0] for image in images}
    if len(inside) > 1 and all(len(image.relative_to(folder).parts) > 1 for image in images):
        message = f"{place} has one folder, and {folder} has {len(inside):,} with images: {shown(sorted(inside))}"
        raise InputError(message, hint=f"give --dataset {folder}, or move its folders up into {place}")


def _folders(place: Path, over: PassedOver, files: str | None = None) -> list[Path]:
    """The visible folders in ``place``, sorted; other entries are passed over, visible files as ``files``."""
    found = []
    for entry in _entries(place):
        if is_hidden(entry.name):
            over.add(_HIDDEN, entry.name)
        elif entry.is_dir():
            found.append(place / entry.name)
        elif files is not None:
            over.add(files, entry.name)
    return found


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


@dataclass
class _Walk:
    """Looks for images, each folder once: a link may lead back.

    Attributes:
        over: takes what is passed over.
        leads_back: whether a link leads to images of other classes.
        seen: device and inode of the folders so far.
        images: how many were found.
        others: how many visible files are none.
    """

    over: PassedOver
    leads_back: Callable[[Path], bool] = lambda _: False
    seen: set[tuple[int, int]] = field(default_factory=set)
    images: int = 0
    others: int = 0

    def images_in(self, folder: Path, depth: int = 0) -> Iterator[Path]:
        """Images in ``folder`` and in the visible folders inside it."""
        status = folder.stat()
        if depth > _DEEPEST or (status.st_dev, status.st_ino) in self.seen:
            self.over.add("folders that lead back or too deep", folder.name)
            return
        self.seen.add((status.st_dev, status.st_ino))
        for entry in _entries(folder):
            path = folder / entry.name
            if is_hidden(entry.name):
                self.over.add(_HIDDEN, entry.name)
            elif entry.is_dir():
                if entry.is_symlink() and self.leads_back(path):
                    self.over.add("links that lead back to other classes", f"{folder.name}/{entry.name}")
                    continue
                yield from self.images_in(path, depth + 1)
            elif path.suffix.lower() in SUFFIXES or is_image(path):
                self.images += 1
                yield path
            else:
                self._pass_over(path)

    def _pass_over(self, path: Path) -> None:
        self.over.add("files that are no images", path.name)
        self.others += 1
        if not self.images and self.others > _MAX_OTHERS:
            message = f"{path.parent} is no image folder: more than {_MAX_OTHERS:,} files and no image yet"
            raise InputError(message, hint="--dataset takes a folder with a folder of images for each class")
