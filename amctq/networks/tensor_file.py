"""A file of named tensors, whatever its format: names, shapes and types at once, values when they are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]

# NumPy's type of an element by MindSpore's name of the type (mindspore/train/serialization.py, tensor_to_ms_type).
# NumPy has no BFloat16: it is the upper half of a Float32.
DTYPES = {
    "Bool": "?",
    **{f"Int{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UInt{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"Float{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    "BFloat16": "<u2",
}
ITEM = {name: np.dtype(dtype).itemsize for name, dtype in DTYPES.items()}  # bytes of an element
MOST_AXES = 32  # NumPy's limit
_TOO_MANY = 1 << 48  # elements
_LONGEST_NAME = 1000
_SHOWN = 80  # characters of a name in a message


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor of a checkpoint.

    Attributes:
        type: MindSpore's name of it, such as ``Float32``; another name where MindSpore has no such type.
        shape: of the tensor; () for a scalar.
    """

    type: str
    shape: Shape

    @property
    def is_number(self) -> bool:
        """Whether a parameter can be loaded from it."""
        return self.type in DTYPES


class CheckpointError(Exception):
    """The reason why a content is no checkpoint for amctq. The user gets it within an InputError, after the path.

    Attributes:
        hint: the next step; None where the file should be copied again.
    """

    def __init__(self, reason: str, *, hint: str | None = None) -> None:
        super().__init__(reason)
        self.hint = hint


class DamagedCheckpointError(CheckpointError):
    """The reason why a content is no complete checkpoint."""


class TensorFile(ABC):
    """Named tensors of a file; all are complete.

    Attributes:
        tensors: by name, in the order of the file.
        modules: the class of each pickled PyTorch module in the file, by name; amctq does not unpickle them.
    """

    tensors: Mapping[str, StoredTensor]
    modules: Mapping[str, str] = {}

    @abstractmethod
    def read(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """The values of these tensors by name, in this machine's byte order; BFloat16 as float32, which holds it.

        Raises:
            DamagedCheckpointError: the values cannot be read.
        """


def checked_name(name: str) -> str:
    """A name that a message, a file and JSON can hold.

    Raises:
        DamagedCheckpointError: it is none.
    """
    reason = None
    if not name:
        reason = "a tensor has no name"
    elif len(name) > _LONGEST_NAME:
        reason = f"the name of a tensor has {len(name):,} characters"
    elif any("\ud800" <= character <= "\udfff" for character in name):
        reason = "the name of a tensor is no UTF-8"
    if reason:
        raise DamagedCheckpointError(reason)
    return name


def is_shape(dims: Collection[int]) -> bool:
    """Whether a tensor can have these dimensions: none is negative, and the product is no fantasy."""
    elements = 1
    for dim in dims:
        if type(dim) is not int or dim < 0:
            return False
        elements *= dim
        if elements >= _TOO_MANY:
            return False
    return True


def values_of(content: Any, kind: str, *, big_endian: bool = False) -> NDArray[Any]:
    """The elements of a tensor in this machine's byte order, one after the other; BFloat16 as float32.

    Args:
        content: their bytes.
        kind: MindSpore's name of their type.
        big_endian: their byte order.
    """
    dtype = np.dtype(DTYPES[kind]).newbyteorder(">" if big_endian else "<")
    flat = np.frombuffer(content, dtype=dtype)
    flat = flat.astype(dtype.newbyteorder("="), copy=False)
    return flat if kind != "BFloat16" else widened(flat)


def widened(halves: NDArray[Any]) -> NDArray[np.float32]:
    """BFloat16, given as uint16, as the same numbers in float32."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def shown(name: str) -> str:
    """A name from a file, for a message: without control characters, and not too long."""
    plain = name.encode("unicode_escape").decode() if not name.isprintable() else name
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"
