"""What all of AMCT's configurations have in common: keys of the network, and for each layer three entries.

The three are a switch, how the input is quantized, and how the weight is. ``config.json`` and
``retrain_quant_config.json`` name them differently; a ``.cfg`` says them for many layers at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from amctq.amct_files.cfg_text import CfgReader
from amctq.amct_files.layer_names import match_names
from amctq.amct_files.pool_names import is_pool_name
from amctq.errors import nearest
from amctq.json_file import JsonReader
from amctq.quant.config import LayerConfig, NetworkConfig, TableConfig, WeightConfig
from amctq.quant.layers import QuantizableLayer, Topology

Activation = TypeVar("Activation")
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The names of one kind of configuration.

    Attributes:
        file: AMCT's name of the JSON file.
        schema: of the ``.cfg``.
        parts: what an override of the ``.cfg``, or the common configuration for None, says of input and weight.
        keys: of the network.
        switch: a layer's key that says whether it is quantized.
        activation: the one for its input.
        activation_keys: the keys under that.
        weight: the one for its weight.
        weight_keys: the keys under that.
        width: the one of them for the number of bits.
        lacking: keys of a layer for what amctq does not have, each with what to say of it.
        by_name: layers are written in the order of their names, else in that of execution.
        pools: it may name means over windows, which config_pools.py reads.
    """

    file: str
    schema: str
    parts: Callable[[CfgReader, CfgReader | None], tuple[CfgReader, CfgReader]]
    keys: tuple[str, ...]
    switch: str
    activation: str
    activation_keys: tuple[str, ...]
    weight: str
    weight_keys: tuple[str, ...]
    width: str
    lacking: Mapping[str, str]
    by_name: bool
    pools: bool = False


class LayerReaders(NamedTuple):
    """What a file says of one layer; a ``.cfg`` gives it under the keys of the JSON file."""

    layer: QuantizableLayer
    enabled: bool
    activation: JsonReader
    weight: JsonReader


def dump_layers(
    config: NetworkConfig[Activation],
    layout: Layout,
    head: Mapping[str, Any],
    activation: Callable[[Activation], dict[str, Any]],
    weight: Callable[[WeightConfig], dict[str, Any]],
    tables: Iterable[TableConfig] = (),
) -> bytes:
    """The JSON file with the keys that AMCT writes, in its order.

    Args:
        config: of the network.
        layout: of the file.
        head: the keys of the network after ``batch_num``.
        activation: what is written for a layer's input.
        weight: what is written for a layer's weight.
        tables: embedding tables, which come last.
    """
    document: dict[str, Any] = {"version": VERSION, "batch_num": config.batch_num, **head}
    for layer in sorted(config.layers, key=lambda item: item.name) if layout.by_name else config.layers:
        document[layer.name] = {
            layout.switch: layer.enabled,
            layout.activation: activation(layer.activation),
            layout.weight: weight(layer.weight),
        }
    for table in tables:
        document[table.name] = {layout.switch: table.enabled, layout.weight: weight(table.weight)}
    return dump_json(document)


def dump_json(document: Mapping[str, Any]) -> bytes:
    """The file as AMCT prints it."""
    return (json.dumps(document, indent=4, separators=(",", ":")) + "\n").encode()


def load_layers(
    layers: Iterable[LayerReaders],
    activation: Callable[[JsonReader], Activation],
    weight: Callable[[JsonReader, QuantizableLayer], WeightConfig],
) -> tuple[LayerConfig[Activation], ...]:
    """The layers of a file, its values read with ``activation`` and ``weight``."""
    return tuple(
        LayerConfig(
            name=readers.layer.name,
            enabled=readers.enabled,
            activation=activation(readers.activation),
            weight=weight(readers.weight, readers.layer),
        )
        for readers in layers
    )


def json_layers(document: JsonReader, layout: Layout, topology: Topology) -> Iterator[LayerReaders]:
    """The layers of a JSON file that ``checked_top`` has checked; AMCT: an absent layer is not quantized."""
    keys = (layout.switch, *layout.lacking, layout.activation, layout.weight)
    for layer in topology.layers:
        reader = document.inside(layer.name, keys)
        for key in layout.lacking.keys() & reader.value.keys():
            reader.fail(key, layout.lacking[key], "take it out of the file")
        yield LayerReaders(
            layer,
            reader.take(layout.switch, bool, layer.name in document.value),
            reader.inside(layout.activation, layout.activation_keys),
            reader.inside(layout.weight, layout.weight_keys),
        )


def checked_top(document: JsonReader, layout: Layout, topology: Topology) -> JsonReader:
    """A JSON file with the network's names of its layers, whichever front end of AMCT has written it.

    Refused are a version that is not AMCT's, and whatever is neither a key nor a layer of the network. An unknown layer
    that is left in float is passed over: AMCT's files name layers of every type that its front end could quantize.
    """
    keys = (*layout.keys, *(table.name for table in topology.tables))
    matched = match_names(document.others(keys), topology)
    left = {layer.name: layer.reason for layer in topology.left_in_float}
    off = [
        name
        for name in matched.unknown
        if _is_off(document.value[name], layout.switch) or (layout.pools and is_pool_name(name, topology))
    ]
    refused = [name for name in matched.unknown if name not in off]
    for name in refused:
        if name in left:
            document.fail(name, f"this layer cannot be quantized: {left[name]}", "take it out of the file")
        known = [*(layer.name for layer in topology.layers), *layout.keys]
        others = f"; nor are {', '.join(refused[1:])}" if refused[1:] else ""
        document.fail(name, f"neither a layer of this network nor a key{others}", nearest(name, known))
    if document.take("version", int, VERSION) != VERSION:
        document.fail("version", f"found {document.value['version']}, expected {VERSION}", "see AMCT's manual")
    check_precision(document)
    return JsonReader(
        {matched.layers.get(key, key): item for key, item in document.others(off).items()}, document.place
    )


def check_precision(document: JsonReader) -> None:
    """Refuse any precision of fake quantization but the default."""
    document.choice("fakequant_precision_mode", ["DEFAULT"], "DEFAULT", "amctq has DEFAULT only")


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
    found: bool = reader.take("channel_wise", bool, not layer.kind.is_dense)
    if found and layer.kind.is_dense:
        complaint = f"true for a Dense, {layer.name}, which has one scale for the tensor"
        reader.fail("channel_wise", complaint, "set it to false; in a .cfg, override_layer_types can say so for Dense")
    return found
