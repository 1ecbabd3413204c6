"""Arrays of a ``.npz`` file that cannot be trusted: only those asked for are read, and nothing is unpickled.

``numpy.load`` allocates what a header declares, whatever the file holds, and reads a member of any size into memory.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from amctq.data.passed_over import is_hidden, shown
from amctq.errors import InputError, first_line
from amctq.regular_file import open_regular

_FORMAT: Any = np.lib.format  # which has no types
_SUFFIX = ".npy"
_HINT = "write it with numpy.savez(path, images=…, labels=…)"
_MAX_RATIO = 200  # of deflate on images; zeros give 1,000
_SMALL = 1 << 28  # bytes that may be compressed to nothing
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})  # those that NumPy writes; others expand without limit


class NpzFile:
    """An open ``.npz`` file, as a context manager.

    Args:
        path: the file.
        called: what messages call it; None for its path.
        hint: how such a file is written, for messages.

    Raises:
        InputError: it cannot be read, or it is damaged or no ``.npz`` file.
    """

    def __init__(self, path: Path, *, called: str | None = None, hint: str = _HINT) -> None:
        self._path, self._called, self._hint = path, called or str(path), hint

    def __enter__(self) -> NpzFile:
        try:
            self._stream = open_regular(self._path)
        except OSError as error:
            message = f"cannot read {self._path}: {error.strerror}"
            raise InputError(message, hint="check the path given with --dataset") from error
        try:
            self._archive = zipfile.ZipFile(self._stream)
        except Exception as error:  # a damaged directory raises from zipfile and struct
            self._stream.close()
            self._refuse_damaged(error)
        self._refuse_duplicates()
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()
        self._stream.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, sorted; hidden members are left out."""
        members = [name for name in self._archive.namelist() if not any(map(is_hidden, name.split("/")))]
        return tuple(sorted({name.removesuffix(_SUFFIX) for name in members}))

    def declared(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of the array called ``name``, after a check that the file can hold it.

        Raises:
            InputError: as ``read``.
        """
        with self._refusing(name):
            return self._declared(self._member(name), name)

    def read(self, name: str) -> NDArray[Any]:
        """The array called ``name``.

        Raises:
            InputError: it is damaged, declares another length than it has, holds Python objects, or is larger than
                the memory.
        """
        with self._refusing(name):
            info = self._member(name)
            self._declared(info, name)
            with self._archive.open(info) as stream:
                array: NDArray[Any] = _FORMAT.read_array(stream, allow_pickle=False)
                stream.read(1)  # the end, where the CRC is checked
                return array

    def _member(self, name: str) -> zipfile.ZipInfo:
        return self._archive.getinfo(name + _SUFFIX)

    def _declared(self, info: zipfile.ZipInfo, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        self._check_compression(info, name)
        with self._archive.open(info) as stream:
            shape, dtype = _header(stream)
            self._check_length(shape, dtype, name=name, rest=info.file_size - stream.tell())
        return shape, dtype

    @contextmanager
    def _refusing(self, name: str) -> Iterator[None]:
        """Turn what reading an array raises into an InputError."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of headers that Python 2 wrote
                yield
        except InputError:
            raise
        except MemoryError as error:
            message = f"{self._called}: {name} needs more memory than there is"
            raise InputError(message, hint=f"leave some of it out, and {self._hint}") from error
        except Exception as error:  # from zipfile, zlib, NumPy's parser of headers
            self._refuse_damaged(error)

    def _refuse_duplicates(self) -> None:
        """Refuse two members of one name, of which one program reads the first and another the last."""
        members = self._archive.namelist()
        if len(set(members)) < len(members):
            twice = next(name for name in members if members.count(name) > 1)
            self.__exit__()
            message = f"{self._called}: duplicate member {shown([twice])}"
            raise InputError(message, hint=self._hint)

    def _check_compression(self, info: zipfile.ZipInfo, name: str) -> None:
        if info.compress_type not in _METHODS:
            message = f"{self._called}: {name} is compressed with method {info.compress_type}, expected deflate or none"
            raise InputError(message, hint=self._hint)
        if info.file_size > max(_SMALL, _MAX_RATIO * info.compress_size):
            message = f"{self._called}: {name} unpacks from {info.compress_size:,} to {info.file_size:,} bytes"
            raise InputError(message, hint="no such arrays are so equal; write them with numpy.savez, not compressed")

    def _check_length(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, name: str, rest: int) -> None:
        if dtype.hasobject:
            message = f"{self._called}: {name} holds Python objects, and amctq executes none"
            raise InputError(message, hint=self._hint)
        declared = math.prod(shape) * dtype.itemsize
        if declared != rest or min(shape, default=0) < 0:
            message = f"{self._called}: {name} declares {dtype} {shape}, {declared:,} bytes, and has {rest:,}"
            raise InputError(message, hint=self._hint)

    def _refuse_damaged(self, error: Exception) -> NoReturn:
        message = f"{self._called} is damaged or not a .npz file ({first_line(error)})"
        raise InputError(message, hint=self._hint) from error


def _header(stream: BinaryIO | Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    read = {(1, 0): _FORMAT.read_array_header_1_0, (2, 0): _FORMAT.read_array_header_2_0}
    shape, _, dtype = read[_FORMAT.read_magic(stream)](stream)
    return shape, dtype
