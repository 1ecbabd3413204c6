"""Tensors of a ``.npz`` file, as ``numpy.savez(path, **tensors)`` writes them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.npz_file import NpzFile
from amctq.networks.tensor_file import DTYPES, DamagedCheckpointError, StoredTensor, TensorFile, checked_name

_HINT = "write it with numpy.savez(path, **tensors)"
_TYPES = {np.dtype(dtype): name for name, dtype in DTYPES.items() if name != "BFloat16"}


class NpzTensors(TensorFile):
    """A ``.npz`` file of tensors.

    Args:
        path: the file.
        called: what messages call it.

    Raises:
        InputError: it is damaged, or holds Python objects.
        DamagedCheckpointError: it holds no tensor.
    """

    def __init__(self, path: Path, called: str) -> None:
        self._path, self._called = path, called
        with self._opened() as archive:
            declared = {name: archive.declared(name) for name in archive.names}
        self.tensors = {
            checked_name(name): StoredTensor(type=_type_of(dtype), shape=shape)
            for name, (shape, dtype) in declared.items()
        }
        if not self.tensors:
            reason = "it holds no tensor"
            raise DamagedCheckpointError(reason)

    def read(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """See ``TensorFile``."""
        with self._opened() as archive:
            values = {name: archive.read(name) for name in names}
        return {name: value.astype(value.dtype.newbyteorder("="), copy=False) for name, value in values.items()}

    def _opened(self) -> NpzFile:
        return NpzFile(self._path, called=self._called, hint=_HINT)


def _type_of(dtype: np.dtype[Any]) -> str:
    return _TYPES.get(dtype.newbyteorder("<"), str(dtype))
