"""Files of ``torch.save``: the zip archive of PyTorch from 1.6 on, and the stream of pickles before it.

Both hold a pickle, whose tensors name storages, and the bytes of these storages as they are. The pickle is read by
``read_pickle``, which runs nothing; the storages are mapped, so that only what a network takes is read.
"""

from __future__ import annotations

import io
import mmap
import struct
import zipfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.errors import first_line
from amctq.networks.tensor_file import (
    DTYPES,
    ITEM,
    CheckpointError,
    DamagedCheckpointError,
    TensorFile,
    shown,
    widened,
)
from amctq.networks.torch_calls import SAVE_TENSORS, Table
from amctq.networks.torch_pickle import read_pickle, read_referring_pickle
from amctq.networks.torch_tensors import Layout, contents_of, item_sizes

# The first pickle of a stream: the number 0x1950a86a20f9469cfc6c.
MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_STREAM_VERSION = 1001
_PICKLE = "data.pkl"
_LARGEST_PICKLE = 256 << 20
_LOCAL_HEADER = 30  # bytes before the name of a member
_HIDDEN = 1  # flag of an encrypted member
_SCRIPT = "in PyTorch: torch.save(torch.jit.load(FILE, map_location='cpu').state_dict(), 'weights.pth')"


@dataclass(frozen=True)
class _Place:
    """Where the bytes of a storage lie in the file."""

    first: int
    length: int


class TorchFile(TensorFile):
    """A file of ``torch.save``.

    Args:
        path: the file.

    Raises:
        CheckpointError: it is another file of PyTorch, or calls what no tensor needs.
        DamagedCheckpointError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as stream:
            is_stream = stream.read(len(MAGIC)) == MAGIC
        root, self._places, self._big_endian = _read_stream(path) if is_stream else _read_archive(path)
        found = contents_of(root)
        self._layouts, self.modules = found.layouts, found.modules
        self.tensors = {name: layout.tensor for name, layout in found.layouts.items()}
        for name, layout in self._layouts.items():
            self._check_storage(name, layout)
        if not is_stream:
            _check_sums(path, {layout.storage.key for layout in self._layouts.values() if layout.tensor.is_number})

    def _check_storage(self, name: str, layout: Layout) -> None:
        storage = layout.storage
        if not layout.tensor.is_number or storage.type not in ITEM:
            return
        expected = storage.elements * ITEM[storage.type]
        found = self._places.get(storage.key)
        if found is None or found.length != expected:
            has = "is not there" if found is None else f"has {found.length:,} bytes, expected {expected:,}"
            reason = f"{shown(name)} lies in storage {shown(storage.key)}, which {has}"
            raise DamagedCheckpointError(reason)

    def read(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """See ``TensorFile``."""
        content = np.memmap(self._path, dtype=np.uint8, mode="r")
        return {name: self._value(content, self._layouts[name]) for name in names}

    def _value(self, content: NDArray[np.uint8], layout: Layout) -> NDArray[Any]:
        kind, shape = layout.tensor.type, layout.tensor.shape
        if 0 in shape:
            return np.empty(shape, np.float32 if kind == "BFloat16" else DTYPES[kind])
        place, item = self._places[layout.storage.key], ITEM[kind]
        whole = content[place.first : place.first + place.length // item * item]
        dtype = np.dtype(DTYPES[kind]).newbyteorder(">" if self._big_endian else "<")
        elements: NDArray[Any] = np.ndarray(
            shape, dtype, buffer=whole, offset=layout.first * item, strides=[step * item for step in layout.strides]
        )
        values = np.array(elements, dtype=dtype.newbyteorder("="), order="C")
        return widened(values) if kind == "BFloat16" else values


def _read_archive(path: Path) -> tuple[Any, dict[str, _Place], bool]:
    """The value of the pickle in a zip archive, its storages, and whether they are big-endian."""
    with _archive(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        if len(members) < len(archive.infolist()):
            reason = "has two members of one name"
            raise DamagedCheckpointError(reason)
        folder = _folder(members)
        for info in members.values():
            if info.filename.startswith(folder):
                _check_member(info)
        pickled = members[f"{folder}{_PICKLE}"]
        if pickled.file_size > _LARGEST_PICKLE:
            reason = f"has a pickle of {pickled.file_size:,} bytes besides its storages"
            raise CheckpointError(reason, hint=SAVE_TENSORS)
        with _damaged():
            content = archive.read(pickled)
            order = archive.read(f"{folder}byteorder") if f"{folder}byteorder" in members else b"little"
        places = dict(_places(path, members.values(), f"{folder}data/"))
    if order not in {b"little", b"big"}:
        reason = "has no byte order that PyTorch writes"
        raise DamagedCheckpointError(reason)
    return read_pickle(io.BytesIO(content)), places, order == b"big"


def _folder(members: Collection[str]) -> str:
    """The folder of the archive in which everything lies, with a slash at its end.

    Raises:
        CheckpointError: there is none: another program wrote the archive.
    """
    folders = [name.removesuffix(_PICKLE) for name in members if f"/{name}".endswith(f"/{_PICKLE}")]
    if len(folders) == 1:
        folder = folders[0]
        if f"{folder}constants.pkl" not in members:
            return folder
        reason = "is a TorchScript archive (torch.jit.save), expected the tensors alone"
        raise CheckpointError(reason, hint=_SCRIPT)
    if any("serialized_exported_program" in name or "/models/" in name for name in members):
        reason = "is an exported program (torch.export), expected the tensors alone"
        raise CheckpointError(reason, hint=SAVE_TENSORS)
    reason = f"is a zip archive with {len(folders)} files {_PICKLE}, expected one, as torch.save writes it"
    hint = "give a file of torch.save or numpy.savez; unpack an archive that holds such a file"
    raise CheckpointError(reason, hint=hint)


def _check_member(info: zipfile.ZipInfo) -> None:
    name = shown(info.filename)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        reason = f"has the compressed member {name}, and PyTorch compresses none"
        raise CheckpointError(reason, hint="write it again with torch.save")
    if info.flag_bits & _HIDDEN:
        reason = f"has the encrypted member {name}"
        raise CheckpointError(reason, hint="write it again with torch.save")


def _places(path: Path, members: Iterable[zipfile.ZipInfo], before: str) -> Iterator[tuple[str, _Place]]:
    """Each storage of an archive by its key."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        for info in members:
            if not info.filename.startswith(before):
                continue
            stream.seek(info.header_offset)
            header = stream.read(_LOCAL_HEADER)
            if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\3\4"):
                reason = f"has no {shown(info.filename)} where its directory says"
                raise DamagedCheckpointError(reason)
            name, extra = struct.unpack("<HH", header[-4:])
            first = info.header_offset + _LOCAL_HEADER + name + extra
            if first + info.file_size > size:
                reason = f"{shown(info.filename)} is longer than the file"
                raise DamagedCheckpointError(reason)
            yield info.filename.removeprefix(before), _Place(first, info.file_size)


def _check_sums(path: Path, keys: Collection[str]) -> None:
    """Compare the storages with the CRC-32 of the archive."""
    with _archive(path) as archive:
        folder = _folder(archive.namelist())
        for info in archive.infolist():
            if info.filename.startswith(f"{folder}data/") and info.filename.removeprefix(f"{folder}data/") in keys:
                with _damaged(), archive.open(info) as stream:
                    while stream.read(1 << 20):
                        pass


def _archive(path: Path) -> zipfile.ZipFile:
    with _damaged():
        return zipfile.ZipFile(path)


@contextmanager
def _damaged() -> Iterator[None]:
    """Turn an error of zipfile, which raises many kinds, into a DamagedCheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        reason = f"its zip archive is cut off or damaged ({first_line(error)[:80]})"
        raise DamagedCheckpointError(reason) from error


def _read_stream(path: Path) -> tuple[Any, dict[str, _Place], bool]:
    """The same of a file that PyTorch before 1.6 wrote, or later with ``_use_new_zipfile_serialization=False``."""
    with path.open("rb") as opened, closing(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)) as stream:
        read_pickle(stream)  # the magic number
        version, system = read_pickle(stream), read_pickle(stream)
        if version != _STREAM_VERSION or not isinstance(system, Table):
            reason = "has no version that PyTorch writes"
            raise DamagedCheckpointError(reason)
        root, references = read_referring_pickle(stream)
        keys = read_pickle(stream)
        if not isinstance(keys, list):
            reason = "has no list of its storages"
            raise DamagedCheckpointError(reason)
        items = item_sizes(references)
        big = any(key == "little_endian" and value is False for key, value in system.items)
        places: dict[str, _Place] = {}
        for key in map(str, keys):
            head = stream.read(8)
            length = int.from_bytes(head, "big" if big else "little", signed=True) * items.get(key, 0)
            first = stream.tell()
            if len(head) < 8 or length < 0 or first + length > len(stream) or not items.get(key) or key in places:
                reason = f"its storage {shown(key)} is cut off or damaged"
                raise DamagedCheckpointError(reason)
            places[key] = _Place(first, length)
            stream.seek(first + length)
    return root, places, big
