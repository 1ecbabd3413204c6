"""Reading an ONNX file that a user names: the whole model, with the weights that lie in files beside it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from amctq.errors import InputError, first_line
from amctq.inference.ascend_lowering import is_deploy, lower
from amctq.inference.onnx_defects import refuse_defects
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.protobuf_walk import walk
from amctq.inference.session import reading_model
from amctq.input_file import LoadedFile, load_input

_ANOTHER = "the model and its data belong to different exports; copy both again"
_DAMAGED = "the file is damaged, or no ONNX model"
# Protobuf's limit for a message, and so for a model in memory.
_MOST_BYTES = (1 << 31) - 1
_PAGE = 1 << 16  # to which writers align the data
_KEYS = frozenset({"location", "offset", "length", "checksum"})
# Types of which an element has less than a byte.
_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxFile:
    """The content of an ONNX file.

    Attributes:
        model: the model, with all of its weights.
        content: the same as bytes.
        loaded: the files that it comes from: first the model's own.
    """

    model: onnx.ModelProto
    content: bytes
    loaded: tuple[LoadedFile, ...]

    @property
    def is_deploy(self) -> bool:
        """Whether it has operators that only an NPU has."""
        return is_deploy(self.model)

    def session(self) -> OnnxSession:
        """A session that runs it; the operators of a deploy file are replaced by standard ones.

        Raises:
            InputError: onnxruntime refuses it, or a deploy file has operators that amctq does not know.
        """
        path = self.loaded[0].path
        with reading_model(path):
            content = lower(self.model) if self.is_deploy else self.content
        try:
            return OnnxSession(content)
        except Exception as error:
            message = f"onnxruntime does not take {path}: {first_line(error)}"
            raise InputError(message, hint=_DAMAGED) from error


def read_onnx(path: Path, *, option: str) -> OnnxFile:
    """Read an ONNX file, and the external data that it names, each once.

    External data must be inside the model's folder, and have the size of its tensors; the current directory does not
    matter.

    Args:
        path: the file.
        option: where its path was given, for messages.

    Raises:
        InputError: a file cannot be read, is no ONNX model, does not have the tensors that the model names, or has what
            makes its results meaningless.
    """
    content, own = load_input(path, option=option)
    with reading_model(path):
        try:
            model = onnx.load_model_from_string(content)
            external = [part for part in walk(model) if _is_external(part)]
        except (DecodeError, ValueError) as error:
            message = f"it is no ONNX model ({len(content):,} bytes)"
            raise InputError(message, hint=_DAMAGED) from error
        if not external:
            refuse_defects(model)
            return OnnxFile(model=model, content=content, loaded=(own,))
        data = _ExternalData(path.parent, option)
        for tensor in external:
            data.put_into(tensor)
        data.refuse_rest()
        if model.ByteSize() > _MOST_BYTES:
            message = f"it has {model.ByteSize():,} bytes with its external data, and amctq reads up to 2 GiB"
            raise InputError(message, hint="measure it in onnxruntime itself")
        refuse_defects(model)
        return OnnxFile(model=model, content=model.SerializeToString(), loaded=(own, *data.loaded))


class _ExternalData:
    """The files beside a model that hold its weights.

    Args:
        folder: of the model; no file outside it is opened.
        option: where the model's path was given, for messages.
    """

    def __init__(self, folder: Path, option: str) -> None:
        self._folder, self._option = folder, option
        self._contents: dict[Path, bytes] = {}
        self._sums: dict[Path, str] = {}
        self._ends: dict[Path, int] = {}
        self.loaded: list[LoadedFile] = []

    def put_into(self, tensor: onnx.TensorProto) -> None:
        """Give a tensor the bytes that it names.

        Raises:
            InputError: what it names is not there, or has another size or another checksum.
        """
        name = tensor.name or "a tensor without a name"
        entries = {item.key: item.value for item in tensor.external_data if item.key in _KEYS}
        path = self._path(entries.get("location", ""), name)
        content = self._content(path)
        self._check_sum(path, entries.get("checksum"), name)
        size = _size(tensor, name)
        offset = _number(entries, "offset", name) or 0
        length = _number(entries, "length", name)
        found = len(content) - offset if length is None else length
        if found != size or offset + size > len(content):
            message = (
                f"{name}: its external data are {max(found, 0):,} bytes at {offset:,} of a file of {len(content):,} "
                f"bytes, expected {size:,}"
            )
            raise InputError(message, hint=_ANOTHER)
        self._ends[path] = max(self._ends.get(path, 0), offset + size)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = content[offset : offset + size]

    def refuse_rest(self) -> None:
        """Refuse files with more bytes than their tensors: they belong to another export. Zeros may fill up a page.

        Raises:
            InputError: the message names the first such file.
        """
        for path, end in self._ends.items():
            rest = self._contents[path][end:]
            if len(rest) >= _PAGE or rest.strip(b"\0"):
                message = f"its external data {path} have {len(rest):,} bytes after the {end:,} of its tensors"
                raise InputError(message, hint=_ANOTHER)

    def _check_sum(self, path: Path, expected: str | None, name: str) -> None:
        """Compare the SHA-1 of a file with the one that a tensor names; exporters need not write it."""
        if expected is None:
            return
        if path not in self._sums:
            self._sums[path] = hashlib.sha1(self._contents[path], usedforsecurity=False).hexdigest()
        if self._sums[path] != expected.strip().lower():
            message = f"{name}: the SHA-1 of {path} is {self._sums[path]}, expected {expected[:40]}"
            raise InputError(message, hint=_ANOTHER)

    def _path(self, location: str, name: str) -> Path:
        parts = PurePosixPath(location).parts
        if not parts or location.startswith("/") or ".." in parts or "\\" in location or "\0" in location:
            message = f"{name}: its external data are in {location!r}, expected a file in the model's folder"
            raise InputError(message, hint="export the model again, with its data beside it")
        path = self._folder.joinpath(*parts)
        try:
            inside = path.resolve().is_relative_to(self._folder.resolve())
        except (OSError, RuntimeError):  # a circle of links
            inside = False
        if not inside:
            message = f"{name}: its external data {location!r} are a link out of the model's folder"
            raise InputError(message, hint="copy the data beside the model")
        return path

    def _content(self, path: Path) -> bytes:
        if path not in self._contents:
            if path.is_file() and path.stat().st_size > _MOST_BYTES:
                message = f"its external data {path} are larger than 2 GiB, which amctq does not read"
                raise InputError(message, hint="measure it in onnxruntime itself")
            self._contents[path], loaded = load_input(path, option=self._option)
            self.loaded.append(loaded)
        return self._contents[path]


def _is_external(part: Any) -> bool:
    """Whether a part of a model is a tensor in another file: an initializer, or one in an attribute or a function."""
    return isinstance(part, onnx.TensorProto) and part.data_location == onnx.TensorProto.EXTERNAL


def _number(entries: Mapping[str, str], key: str, name: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        message = f"{name}: the {key} of its external data is {text[:40]!r}, expected a number of bytes"
        raise InputError(message, hint=_DAMAGED)
    return int(text)


def _size(tensor: onnx.TensorProto, name: str) -> int:
    """Bytes of a tensor."""
    kinds = onnx.TensorProto.DataType
    kind = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else "UNDEFINED"
    if kind in {"UNDEFINED", "STRING"} or min(tensor.dims, default=0) < 0:
        message = f"{name} is {kind} {list(tensor.dims)[:8]}, and no external data can hold that"
        raise InputError(message, hint=_DAMAGED)
    bits = _BITS.get(kind) or 8 * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return -(-math.prod(tensor.dims) * bits // 8)
