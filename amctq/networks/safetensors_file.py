"""A safetensors file, read with the library of that name, which checks its header and every offset in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from amctq.errors import first_line
from amctq.networks.tensor_file import (
    DamagedCheckpointError,
    StoredTensor,
    TensorFile,
    checked_name,
)

_TYPES = {
    "BOOL": "Bool",
    "BF16": "BFloat16",
    **{
        f"{letter}{bits}": f"{name}{bits}" for letter, name in (("I", "Int"), ("U", "UInt")) for bits in (8, 16, 32, 64)
    },
    **{f"F{bits}": f"Float{bits}" for bits in (16, 32, 64)},
}


class SafetensorsFile(TensorFile):
    """A safetensors file.

    Args:
        path: the file.

    Raises:
        DamagedCheckpointError: it is damaged, or holds no tensor.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with safe_open(path, framework="numpy") as opened:
                slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no dict
                self.tensors = {
                    checked_name(name): StoredTensor(type=_type_of(part.get_dtype()), shape=tuple(part.get_shape()))
                    for name, part in slices.items()
                }
        except (SafetensorError, OSError) as error:
            reason = f"no safetensors file ({first_line(error)[:80]})"
            raise DamagedCheckpointError(reason) from error
        if not self.tensors:
            reason = "it holds no tensor"
            raise DamagedCheckpointError(reason)

    def read(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """See ``TensorFile``."""
        import numpy as np

        with safe_open(self._path, framework="numpy") as opened:
            values = {name: opened.get_tensor(name) for name in names}
        halves = {name for name in names if self.tensors[name].type == "BFloat16"}
        return {name: value.astype(np.float32) if name in halves else value for name, value in values.items()}


def _type_of(named: Any) -> str:
    return _TYPES.get(str(named), str(named))
