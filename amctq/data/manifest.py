"""``cifar-10-manifest.json``: where a prepared dataset came from, and what each of its files holds.

It is beside the two folders and is written before them. With it the next run of ``amctq prepare-cifar`` recognizes a
complete set (every sum is right), an incomplete one (files are missing), a damaged one, and a set from another source.
Anybody can check the files with it later, or see that the pictures were generated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amctq.files import reading, sha256_of

MANIFEST = "cifar-10-manifest.json"
_SCHEMA = 1


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
    """The manifest in ``directory``; None if there is none, or if it cannot be understood."""
    try:
        content: dict[str, Any] = json.loads((directory / MANIFEST).read_bytes())
        if content["schema"] != _SCHEMA:
            return None
        return Manifest(
            origin=dict(content["origin"]),
            synthetic=bool(content["synthetic"]),
            classes=tuple(map(str, content["classes"])),
            files={name: _data_file(**entry) for name, entry in content["files"].items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _data_file(*, bytes: int, sha256: str, images_per_class: list[int] | None) -> DataFile:
    return DataFile(bytes=bytes, sha256=sha256, images_per_class=tuple(images_per_class) if images_per_class else None)
