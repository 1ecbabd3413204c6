"""``cifar-10-manifest.json``: where a prepared dataset came from, and what each of its files holds.

It is beside the two folders and is written before them. With it the next run of ``amctq prepare-cifar`` recognizes a
complete set (every sum is right), an incomplete one (files are missing), a damaged one, and a set from another source.
Anybody can check the files with it later, or see that the pictures were generated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from amctq.data.cifar import CLASSES, LAYOUT, is_record_file
from amctq.errors import InputError
from amctq.files import reading, sha256_of
from amctq.json_file import JsonReader, read_json_object

MANIFEST = "cifar-10-manifest.json"
_SCHEMA = 1
_KEYS = ("bytes", "sha256", "images_per_class")
_FILES = tuple(f"{folder}/{name}" for name, folders in LAYOUT.items() for folder in folders)


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of a prepared dataset.

    Attributes:
        bytes: its length.
        sha256: of its content, lower-case hexadecimal.
        images_per_class: of a record file, by label; None for a text file.
    """

    bytes: int
    sha256: str
    images_per_class: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A prepared dataset.

    Attributes:
        origin: what it was made from; equal origins give equal files.
        synthetic: the pictures were generated; a result on them is not a result on CIFAR-10.
        classes: names, by label.
        files: by name, ``folder/file``.
    """

    origin: Mapping[str, str | int]
    synthetic: bool
    classes: tuple[str, ...]
    files: Mapping[str, DataFile]

    def images_per_class(self, folder: str) -> tuple[int, ...]:
        """The number of images in all record files of ``folder``, by label."""
        counts = [
            file.images_per_class
            for name, file in self.files.items()
            if file.images_per_class and name.startswith(f"{folder}/")
        ]
        return tuple(map(sum, zip(*counts, strict=True)))

    @property
    def sums(self) -> dict[str, str]:
        """SHA-256 by name."""
        return {name: file.sha256 for name, file in self.files.items()}

    def missing(self, directory: Path) -> tuple[str, ...]:
        """Files that are not in ``directory``."""
        with reading(str(directory)):
            return tuple(name for name in self.files if not (directory / name).exists())

    def differing(self, directory: Path) -> tuple[str, ...]:
        """Files in ``directory`` with another content."""
        with reading(str(directory)):
            return tuple(
                name
                for name, file in self.files.items()
                if (path := directory / name).exists()
                and (not path.is_file() or path.stat().st_size != file.bytes or sha256_of(path) != file.sha256)
            )

    def to_json(self) -> bytes:
        """The file's content."""
        return (json.dumps({"schema": _SCHEMA, "dataset": "cifar-10", **asdict(self)}, indent=2) + "\n").encode()


def read_manifest(directory: Path) -> Manifest | None:
    """The manifest in ``directory``; None if there is none, or if another release of amctq wrote it.

    Raises:
        InputError: it cannot be read, or it is no manifest.
    """
    path = directory / MANIFEST
    with reading(str(path)):
        if not path.exists():
            return None
    try:
        content = read_json_object(path, what="manifest", option="--output-dir", takes="a manifest of this release")
        reader = JsonReader(content, f"{path}: ")
        return _manifest(reader) if reader.take("schema", int, 0) == _SCHEMA else None
    except InputError as error:
        expected = f", {error.hint}" if error.hint and error.hint.startswith("expected") else ""
        hint = "pass --force to prepare the set again, or remove the file"
        message = f"{error.message}{expected}"
        raise InputError(message, hint=hint) from error


def _manifest(reader: JsonReader) -> Manifest:
    origin = reader.take("origin", dict, {})
    if not all(type(value) in (str, int) for value in origin.values()):
        reader.fail("origin", "found other values", "expected texts and whole numbers")
    classes = reader.take("classes", list, [])
    if len(classes) != CLASSES or not all(isinstance(name, str) for name in classes):
        reader.fail("classes", "found another list", f"expected {CLASSES} names")
    entries = reader.inside("files", _FILES)
    if missing := [name for name in _FILES if name not in entries.value]:
        reader.fail("files", f"{missing[0]} is missing", "expected all files")
    return Manifest(
        origin=origin,
        synthetic=reader.take("synthetic", bool, False),
        classes=tuple(classes),
        files={name: _data_file(name, entries.inside(name, _KEYS)) for name in entries.value},
    )


def _data_file(name: str, entry: JsonReader) -> DataFile:
    length, sha256 = entry.take("bytes", int, -1), entry.take("sha256", str, "")
    if length < 0:
        entry.fail("bytes", f"found {length}", "expected a number from 0 up")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        entry.fail("sha256", f"found {sha256[:80]!r}", "expected 64 hexadecimal digits")
    counts = entry.value.get("images_per_class")
    if not is_record_file(name.rpartition("/")[2]):
        return DataFile(bytes=length, sha256=sha256)
    if not isinstance(counts, list) or len(counts) != CLASSES or not all(type(n) is int and n >= 0 for n in counts):
        entry.fail("images_per_class", "found another value", f"expected {CLASSES} numbers from 0 up")
    return DataFile(bytes=length, sha256=sha256, images_per_class=tuple(counts))
