"""AMCT's JSON configurations: what reading ``config.json`` and ``retrain_quant_config.json`` strictly has in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amctq.errors import InputError
from amctq.quant.config import nearest
from amctq.quant.topology import LayerKind, QuantizableLayer, Topology

VERSION = 1


def dump_json(document: Mapping[str, Any]) -> bytes:
    """The file as AMCT prints it."""
    return (json.dumps(document, indent=4, separators=(",", ":")) + "\n").encode()


def read_object(path: Path, *, expected: str) -> JsonReader:
    """Read a file that holds one JSON object, no key of it twice.

    Args:
        path: the file, given with ``--config``.
        expected: AMCT's name of such a file, for messages.

    Raises:
        InputError: it cannot be read or is no such object.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        repeated = next((key for key in keys if keys.count(key) > 1), None)
        if repeated is not None:
            message = f"{path}: {repeated} stands there twice"
            raise InputError(message, hint="remove one of the two")
        return dict(pairs)

    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique, parse_constant=_no_constant)
    except OSError as error:
        message = f"cannot read the configuration {path}: {error.strerror}"
        raise InputError(message, hint="check the path given with --config") from error
    except (ValueError, RecursionError) as error:
        message = f"{path} is no JSON: {error}"
        raise InputError(message, hint=f"--config takes AMCT's {expected}") from error
    if not isinstance(value, dict):
        message = f"{path} holds a {type(value).__name__}, expected a JSON object"
        raise InputError(message, hint=f"--config takes AMCT's {expected}")
    return JsonReader(path, value)


class JsonReader:
    """One object of a file, with the keys that lead to it.

    Args:
        path: the file, for messages.
        value: the object.
        trail: the keys that lead to it, each with a dot behind it.
        keys: those that it may have; None where the caller checks them.
    """

    def __init__(
        self, path: Path, value: dict[str, Any], *, trail: str = "", keys: Sequence[str] | None = None
    ) -> None:
        self.value = value
        self._path, self._trail = path, trail
        for key in value if keys is not None else ():
            if key not in (keys or ()):
                self.fail(key, "unknown key", nearest(key, keys or ()))

    def inside(self, key: str, keys: Sequence[str]) -> JsonReader:
        """The object under ``key``, empty where it is not there."""
        return JsonReader(self._path, self.take(key, dict, {}), trail=f"{self._trail}{key}.", keys=keys)

    def take(self, key: str, kind: type, default: Any) -> Any:
        """The value under ``key``, which must be of ``kind``; a float may be written as a whole number."""
        value = self.value.get(key, default)
        if value is default:
            return default
        accepted = (int, float) if kind is float else (kind,)
        if isinstance(value, int) and abs(value) > 1 << 53:
            self.fail(key, "found a number of that size", f"expected {_KINDS[kind]}")
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, f"found {json.dumps(value)}", f"expected {_KINDS[kind]}")
        return value

    def only(self, key: str, value: int | str) -> None:
        """Refuse any value but the one that amctq has."""
        found = self.take(key, type(value), value)
        if found != value:
            self.fail(key, f"found {found!r}", f"amctq has {value!r} only")

    def fail(self, key: str, found: str, hint: str) -> None:
        """Refuse the file."""
        message = f"{self._path}: {self._trail}{key}: {found}"
        raise InputError(message, hint=hint)


def check_top(document: JsonReader, topology: Topology, keys: Sequence[str]) -> None:
    """Refuse a version that is not AMCT's, and whatever is neither among ``keys`` nor a layer of the network."""
    layers = {layer.name for layer in topology.layers}
    left = {layer.name: layer.reason for layer in topology.left_in_float}
    for name in document.value:
        if name in layers or name in keys:
            continue
        if name in left:
            document.fail(name, f"this layer cannot be quantized: {left[name]}", "take it out of the file")
        known = [*(layer.name for layer in topology.layers), *keys]
        document.fail(name, "neither a layer of this network nor a key", nearest(name, known))
    if document.take("version", int, VERSION) != VERSION:
        document.fail("version", f"found {document.value['version']}, expected {VERSION}", "see AMCT's manual")
    mode = document.take("fakequant_precision_mode", str, "DEFAULT")
    if mode != "DEFAULT":
        document.fail("fakequant_precision_mode", f"found {mode!r}", "amctq has DEFAULT only")


def batch_num(document: JsonReader) -> int | None:
    """How many batches calibrate, where the file says so."""
    found: int | None = document.take("batch_num", int, None)
    if found is not None and found < 1:
        document.fail("batch_num", f"found {found}, expected at least 1", "the number of calibration batches")
    return found


def channel_wise(reader: JsonReader, layer: QuantizableLayer) -> bool:
    """Whether a weight has a scale for each channel, which a Dense must not have."""
    found: bool = reader.take("channel_wise", bool, layer.kind is LayerKind.CONV)
    if found and layer.kind is LayerKind.DENSE:
        reader.fail("channel_wise", "true for a Dense, which has one scale for the tensor", "set it to false")
    return found


def _no_constant(name: str) -> float:
    message = f"{name} is no JSON number"
    raise ValueError(message)


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "an object",
}
