"""AMCT's simplified configuration of post-training quantization, ``.cfg``, as the value that ``config.json`` holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from amctq.amct_files.cfg_text import CfgReader, read_cfg
from amctq.amct_files.config_json import load_activation, load_skip_fusion, load_weight
from amctq.amct_files.json_reader import batch_num
from amctq.errors import nearest
from amctq.quant.config import LayerConfig, QuantConfig
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology

SCHEMA = "PtqConfig"


def load_cfg(path: Path, topology: Topology, warn: Callable[[str], None]) -> QuantConfig:
    """Read a file for a network; what it does not say takes AMCT's defaults.

    A layer takes its configuration from ``override_layer_configs``, else ``override_layer_types``, else
    ``common_config``; the first of these that speaks of it replaces the others whole.

    Args:
        path: the file.
        topology: of the network.
        warn: is told of what is corrected.

    Raises:
        InputError: it is no such text, or names an unknown field, a value out of range or a layer that the network
            lacks. The message names line and field.
    """
    document = read_cfg(path, SCHEMA)
    offset = document.take("activation_offset", bool, True)
    skipped = skipped_layers(document, topology, ("skip_layers",), ("skip_layer_types",))
    chosen = Choice(document, topology, common=document.message("common_config"), inner="calibration_config")
    config = QuantConfig(
        layers=tuple(
            _layer(layer, chosen, enabled=layer.name not in skipped, offset=offset) for layer in topology.layers
        ),
        activation_offset=offset,
        do_fusion=document.take("do_fusion", bool, True),
        skip_fusion_layers=load_skip_fusion(document, topology),
        batch_num=batch_num(document),
    )
    chosen.tell(warn, config.enabled)
    config.selected(topology)
    return config


class Choice:
    """Which of a file's configurations holds for a layer.

    Args:
        document: the file.
        topology: of the network.
        common: what holds for all others.
        inner: the field that holds an override's configuration; None where the override is it.
    """

    def __init__(self, document: CfgReader, topology: Topology, *, common: CfgReader, inner: str | None) -> None:
        self._common = common
        self._inner = inner
        self._by_name = self._keyed(document.messages("override_layer_configs"), "layer_name")
        self._by_type = self._keyed(document.messages("override_layer_types"), "layer_type")
        self._corrected: list[str] = []
        self._line = 0
        names = [layer.name for layer in topology.layers]
        for name, reader in self._by_name.items():
            if name not in names:
                reader.fail("layer_name", f"{name!r} is no layer of this network", nearest(name, names))
        for kind, reader in self._by_type.items():
            if kind not in _KINDS:
                reader.fail("layer_type", f"found {kind!r}", f"expected one of {', '.join(_KINDS)}")

    def reader(self, layer: QuantizableLayer) -> CfgReader:
        """The configuration of a layer."""
        override = self._by_name.get(layer.name) or self._by_type.get(layer.kind.value)
        if override is None:
            return self._common
        return override if self._inner is None else override.message(self._inner)

    def weight(self, reader: CfgReader, layer: QuantizableLayer) -> CfgReader:
        """``reader``, unless it asks for a scale for each channel of a Dense from ``common_config``.

        AMCT copies ``common_config`` to every layer, skipped ones included, and then refuses the file.
        """
        common = layer.name not in self._by_name and layer.kind.value not in self._by_type
        if not common or layer.kind is not LayerKind.DENSE or not reader.value.get("channel_wise", False):
            return reader
        self._corrected.append(layer.name)
        self._line = reader.line("channel_wise")
        return reader.rewritten({**reader.value, "channel_wise": False}, {})

    def tell(self, warn: Callable[[str], None], enabled: Mapping[str, Any]) -> None:
        """Say what has been corrected, of the layers that are quantized."""
        names = [name for name in self._corrected if name in enabled]
        if names:
            warn(
                f"--config, line {self._line}: channel_wise is false for {', '.join(names)}, because a Dense has one "
                "scale for the tensor; AMCT refuses this file unless an override says so"
            )

    @staticmethod
    def _keyed(readers: Sequence[CfgReader], key: str) -> dict[str, CfgReader]:
        found: dict[str, CfgReader] = {}
        for reader in readers:
            name = reader.take(key, str, None)
            if name is None:
                reader.fail(key, "is missing", f"an override says which {key} it is for")
            name = name.removeprefix("nn.") if key == "layer_type" else name
            if name in found:
                reader.fail(key, f"{name!r} stands there twice", "remove one of the two overrides")
            found[name] = reader
        return found


def skipped_layers(
    document: CfgReader, topology: Topology, names: Sequence[str], kinds: Sequence[str]
) -> frozenset[str]:
    """The layers that a file skips by name or by type.

    Args:
        document: the file.
        topology: of the network.
        names: fields that hold names.
        kinds: fields that hold types.
    """
    known = [layer.name for layer in topology.layers]
    others = {layer.name for layer in topology.left_in_float}
    found: set[str] = set()
    for field in names:
        for index, name in enumerate(document.take(field, list, [])):
            if name not in known and name not in others:
                document.fail(field, f"{name!r} is no layer of this network", nearest(name, known), index)
            found.add(name)
    for field in kinds:
        for index, kind in enumerate(document.take(field, list, [])):
            if kind.removeprefix("nn.") not in _KINDS:
                document.fail(field, f"found {kind!r}", f"expected one of {', '.join(_KINDS)}", index)
            found |= {layer.name for layer in topology.layers if layer.kind.value == kind.removeprefix("nn.")}
    return frozenset(found)


def _layer(layer: QuantizableLayer, chosen: Choice, *, enabled: bool, offset: bool) -> LayerConfig:
    reader = chosen.reader(layer)
    if "ifmr_quantize" in reader.value and "hfmg_quantize" in reader.value:
        reader.fail("hfmg_quantize", "and ifmr_quantize both say how activations are observed", "leave one of them out")
    weight = chosen.weight(reader.message("arq_quantize"), layer)
    return LayerConfig(
        name=layer.name,
        enabled=enabled,
        activation=load_activation(_activation(reader), offset),
        weight=load_weight(weight, layer),
    )


def _activation(reader: CfgReader) -> CfgReader:
    """The observer's message under the names of ``config.json``."""
    if "hfmg_quantize" in reader.value:
        message = reader.message("hfmg_quantize")
        return message.rewritten({**message.value, "act_algo": "hfmg"}, {})
    message = reader.message("ifmr_quantize")
    value = dict(message.value)
    start, end = value.pop("search_range_start", 0.7), value.pop("search_range_end", 1.3)
    said = "search_range_start" if "search_range_start" in message.value else "search_range_end"
    return message.rewritten({**value, "search_range": [start, end]}, {"search_range": said})


_KINDS = tuple(kind.value for kind in LayerKind)
