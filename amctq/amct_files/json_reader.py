"""AMCT's JSON configurations: what reading ``config.json`` and ``retrain_quant_config.json`` strictly has in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from amctq.amct_files.layer_names import match_names
from amctq.errors import InputError, nearest
from amctq.json_file import read_json_object
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology

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
    value = read_json_object(path, what="configuration", option="--config", takes=f"AMCT's {expected}")
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

    def renamed(self, names: Mapping[str, str], *, without: Sequence[str]) -> JsonReader:
        """The same file, some keys under other names and some left out."""
        value = {names.get(key, key): item for key, item in self.value.items() if key not in without}
        return JsonReader(self._path, value, trail=self._trail)

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

    def only(self, key: str, value: int | str | list[Any]) -> None:
        """Refuse any value but the one that amctq has."""
        found = self.take(key, type(value), value)
        if found != value:
            self.fail(key, f"found {_format(found)}", f"amctq has {_format(value)} only")

    def fail(self, key: str, found: str, hint: str) -> None:
        """Refuse the file."""
        message = f"{self._path}: {self._trail}{key}: {found}"
        raise InputError(message, hint=hint)


def checked_top(document: JsonReader, topology: Topology, keys: Sequence[str], switch: str) -> JsonReader:
    """The file with the network's names of its layers, whichever front end of AMCT has written it.

    Refused are a version that is not AMCT's, and whatever is neither among ``keys`` nor a layer of the network.

    Args:
        document: the file.
        topology: of the network.
        keys: those that are no layers.
        switch: the key that leaves a layer in float. An unknown layer that is left in float is passed over: AMCT's
            files name layers of every type that its front end could quantize.
    """
    matched = match_names((name for name in document.value if name not in keys), topology)
    left = {layer.name: layer.reason for layer in topology.left_in_float}
    off = [name for name in matched.unknown if _is_off(document.value[name], switch)]
    refused = [name for name in matched.unknown if name not in off]
    for name in refused:
        if name in left:
            document.fail(name, f"this layer cannot be quantized: {left[name]}", "take it out of the file")
        known = [*(layer.name for layer in topology.layers), *keys]
        others = f"; nor are {', '.join(refused[1:])}" if refused[1:] else ""
        document.fail(name, f"neither a layer of this network nor a key{others}", nearest(name, known))
    if document.take("version", int, VERSION) != VERSION:
        document.fail("version", f"found {document.value['version']}, expected {VERSION}", "see AMCT's manual")
    mode = document.take("fakequant_precision_mode", str, "DEFAULT")
    if mode != "DEFAULT":
        document.fail("fakequant_precision_mode", f"found {mode!r}", "amctq has DEFAULT only")
    return document.renamed(matched.layers, without=off)


def _format(value: object) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)


def _is_off(layer: object, switch: str) -> bool:
    return isinstance(layer, dict) and layer.get(switch) is False


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


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "an object",
}
