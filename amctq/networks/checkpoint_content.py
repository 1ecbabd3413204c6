"""What a MindSpore checkpoint file holds, checked before MindSpore reads it.

MindSpore copies a tensor's bytes without comparing their number with its shape: with too many it writes beyond the
tensor, with too few it reads what lies beside them in memory. So every tensor of a file is checked here.
"""

from __future__ import annotations

import binascii
import math
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Shape = tuple[int, ...]

# Bytes of an element by MindSpore's name of the type (mindspore/train/serialization.py, tensor_to_ms_type).
_ITEM = {
    "Bool": 1,
    **{f"{sign}{bits}": bits // 8 for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    **{f"Float{bits}": bits // 8 for bits in (16, 32, 64)},
    "BFloat16": 2,
}
_TEXT, _TEXT_ITEM = "str", 4  # a value of save_checkpoint's append_dict, as UCS-4
_PACKED = "Int4"  # weights that MindSpore itself has quantized
_SCALAR = (0,)  # MindSpore writes the shape of a scalar so
_MOST_AXES = 32  # NumPy's limit
# MindSpore ends a file with it, and ten bytes of CRC-32, where it is asked for a checksum.
_CRC, _CRC_BYTES = b"crc_num", 10
_TOO_MANY = 1 << 48  # elements
_LONGEST_NAME = 1000
_SHOWN = 80  # characters of a name in a message


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor of a checkpoint.

    Attributes:
        type: MindSpore's name of it, such as ``Float32``.
        shape: of the tensor; () for a scalar.
    """

    type: str
    shape: Shape

    @property
    def is_number(self) -> bool:
        """Whether a parameter can be loaded from it."""
        return self.type in _ITEM


class DamagedCheckpointError(Exception):
    """The reason why a content is no complete checkpoint. The user gets it within an InputError."""


def read_tensors(content: bytes) -> dict[str, StoredTensor]:
    """The tensors of a checkpoint by name, in the order of the file.

    Args:
        content: of the file.

    Raises:
        DamagedCheckpointError: it is no checkpoint, or a tensor in it is not complete.
    """
    from google.protobuf.message import DecodeError
    from mindspore.train.checkpoint_pb2 import Checkpoint

    try:
        message = Checkpoint.FromString(_without_crc(content))
        found = _tensors(message)
    except (DecodeError, UnicodeDecodeError) as error:
        reason = "it cannot be parsed"
        raise DamagedCheckpointError(reason) from error
    if not found:
        reason = "it holds no tensor"
        raise DamagedCheckpointError(reason)
    return found


def shown(name: str) -> str:
    """A name from a file, for a message: without control characters, and not too long."""
    plain = name.encode("unicode_escape").decode() if not name.isprintable() else name
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"


def _without_crc(content: bytes) -> bytes:
    body, mark = content[: -len(_CRC) - _CRC_BYTES], content[-len(_CRC) - _CRC_BYTES : -_CRC_BYTES]
    if mark != _CRC:
        return content
    if int.from_bytes(content[-_CRC_BYTES:], "big") != binascii.crc32(body):
        reason = "its content and the CRC-32 at its end differ"
        raise DamagedCheckpointError(reason)
    return body


def _tensors(message: Any) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for name, parts in groupby(message.value, key=lambda value: value.tag):
        if not name or not isinstance(name, str):  # protobuf gives bytes where they are no UTF-8
            reason = "a tensor has no name" if not name else "the name of a tensor is no UTF-8"
            raise DamagedCheckpointError(reason)
        try:
            tensor = _tensor(list(parts))
        except DamagedCheckpointError as defect:
            reason = f"{shown(name)} {defect}"
            raise DamagedCheckpointError(reason) from None
        if len(name) > _LONGEST_NAME:
            reason = f"the name of a tensor has {len(name):,} characters"
            raise DamagedCheckpointError(reason)
        if name in found:
            reason = f"{shown(name)} occurs in two places"
            raise DamagedCheckpointError(reason)
        found[name] = tensor
    if _has_unknown_fields(message):
        reason = "it has fields that MindSpore does not write"
        raise DamagedCheckpointError(reason)
    return found


def _tensor(parts: list[Any]) -> StoredTensor:
    """One tensor. MindSpore divides a large one into parts, each with the shape of the whole."""
    defect = next(filter(None, map(_defect, parts)), None)
    if defect is None:
        kinds = {(part.tensor.tensor_type, tuple(part.tensor.dims)) for part in parts}
        if len(kinds) > 1:
            defect = "has parts of different shapes or types"
    if defect is not None:
        raise DamagedCheckpointError(defect)
    ((kind, dims),) = kinds
    size = sum(len(part.tensor.tensor_content) for part in parts)
    shape = () if dims == _SCALAR and size else dims
    if kind == _TEXT:
        complete, expected = size % _TEXT_ITEM == 0, f"a multiple of {_TEXT_ITEM}"
    elif kind == _PACKED:
        complete, expected = True, ""  # nothing that amctq loads
    else:
        expected_bytes = math.prod(shape) * _ITEM[kind]
        complete, expected = size == expected_bytes, f"{expected_bytes:,}"
    if not complete:
        reason = f"holds {size:,} bytes, expected {expected} for {kind} {list(shape)}"
        raise DamagedCheckpointError(reason)
    return StoredTensor(type=kind, shape=shape)


def _defect(part: Any) -> str | None:
    """What is wrong with one part of a tensor, apart from its length; None if nothing is."""
    if part.HasField("maptensor"):
        return "is a MapParameter (a hash table of embeddings), and amctq loads tensors only"
    if not part.HasField("tensor"):
        return "has no tensor"
    if _has_unknown_fields(part) or _has_unknown_fields(part.tensor):
        return "has fields that MindSpore does not write"
    kind, dims = part.tensor.tensor_type, part.tensor.dims
    if kind not in _ITEM and kind not in {_TEXT, _PACKED}:
        return f"has the unknown type {shown(str(kind))!r}"
    if len(dims) > _MOST_AXES:
        return f"has {len(dims):,} axes, expected at most {_MOST_AXES}"
    if min(dims, default=0) < 0 or math.prod(dims) >= _TOO_MANY:
        return f"has the shape {shown(str(list(dims)))}"
    return None


def _has_unknown_fields(message: Any) -> bool:
    from google.protobuf.unknown_fields import UnknownFieldSet

    return len(UnknownFieldSet(message)) > 0
