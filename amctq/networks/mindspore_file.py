"""A MindSpore checkpoint file, read and checked without MindSpore's own reader.

That copies a tensor's bytes without comparing their number with its shape: with too many it writes beyond the tensor,
with too few it reads what lies beside them in memory.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Collection
from itertools import groupby
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from amctq.networks.tensor_file import (
    DTYPES,
    ITEM,
    MOST_AXES,
    DamagedCheckpointError,
    StoredTensor,
    TensorFile,
    checked_name,
    is_shape,
    shown,
    values_of,
)

_TEXT, _TEXT_ITEM = "str", 4  # a value of save_checkpoint's append_dict, as UCS-4
_PACKED = "Int4"  # weights that MindSpore itself has quantized
_SCALAR = (0,)  # MindSpore writes the shape of a scalar so
# MindSpore ends a file with it, and ten bytes of CRC-32, where it is asked for a checksum.
_CRC, _CRC_BYTES = b"crc_num", 10


class MindSporeFile(TensorFile):
    """A checkpoint that MindSpore has written.

    Args:
        path: the file.

    Raises:
        DamagedCheckpointError: it is no checkpoint, or a tensor in it is not complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.tensors = _tensors(self._message())
        except (DecodeError, UnicodeDecodeError) as error:
            reason = "it cannot be parsed"
            raise DamagedCheckpointError(reason) from error
        if not self.tensors:
            reason = "it holds no tensor"
            raise DamagedCheckpointError(reason)

    def read(self, names: Collection[str]) -> dict[str, NDArray[Any]]:
        """See ``TensorFile``."""
        wanted, parts = set(names), dict[str, list[bytes]]()
        for value in self._message().value:
            if value.tag in wanted:
                parts.setdefault(value.tag, []).append(value.tensor.tensor_content)
        return {
            name: values_of(b"".join(found), self.tensors[name].type).reshape(self.tensors[name].shape)
            for name, found in parts.items()
        }

    def _message(self) -> Any:
        from mindspore.train.checkpoint_pb2 import Checkpoint

        return Checkpoint.FromString(_without_crc(self._path.read_bytes()))


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
        if checked_name(name) in found:
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
        expected_bytes = math.prod(shape) * ITEM[kind]
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
    if kind not in DTYPES and kind not in {_TEXT, _PACKED}:
        return f"has the unknown type {shown(str(kind))!r}"
    if len(dims) > MOST_AXES:
        return f"has {len(dims):,} axes, expected at most {MOST_AXES}"
    if not is_shape(dims):
        return f"has the shape {shown(str(list(dims)))}"
    return None


def _has_unknown_fields(message: Any) -> bool:
    from google.protobuf.unknown_fields import UnknownFieldSet

    return len(UnknownFieldSet(message)) > 0
