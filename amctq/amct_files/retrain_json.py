"""AMCT's ``retrain_quant_config.json``, read strictly and written as AMCT writes it.

The format is AMCT's (docs/en/reference.md, "retrain_quant_config.json").
"""

from __future__ import annotations

from typing import Any

from amctq.amct_files.json_reader import (
    VERSION,
    JsonReader,
    batch_num,
    channel_wise,
    checked_top,
    dump_json,
)
from amctq.choices import WEIGHT_BITS
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology
from amctq.quant.retrain_config import ArqRetrainConfig, RetrainConfig, RetrainLayerConfig, UlqConfig

EXPECTED = "retrain_quant_config.json"
_GLOBAL_KEYS = ("version", "batch_num", "fakequant_precision_mode")
_LAYER_KEYS = ("retrain_enable", "retrain_data_config", "retrain_weight_config")
_DATA_KEYS = ("algo", "dst_type", "clip_max", "clip_min", "fixed_min")
_WEIGHT_KEYS = ("algo", "dst_type", "channel_wise")
# AMCT's own names of widths are INT4 and INT8; amctq has those between them too.
_WEIGHT_TYPES = {f"INT{bits}": bits for bits in WEIGHT_BITS}


def dump_retrain_config(config: RetrainConfig) -> bytes:
    """The file, layers sorted by name, as AMCT's MindSpore front end writes it.

    ``clip_max``, ``clip_min`` and ``fixed_min``, and ``dst_type`` of weights, are written where they say something.
    """
    document: dict[str, Any] = {"version": VERSION}
    if config.batch_num is not None:
        document["batch_num"] = config.batch_num
    for layer in sorted(config.layers, key=lambda item: item.name):
        document[layer.name] = {
            "retrain_enable": layer.enabled,
            "retrain_data_config": _dump_data(layer.activation),
            "retrain_weight_config": _dump_weight(layer.weight),
        }
    return dump_json(document)


def load_retrain_config(document: JsonReader, topology: Topology) -> RetrainConfig:
    """The file for a network; what it does not say takes AMCT's defaults.

    Raises:
        InputError: it has an unknown key, a value out of range, or a layer that the network
            lacks. The message names the key.
    """
    document = checked_top(document, topology, _GLOBAL_KEYS, "retrain_enable")
    config = RetrainConfig(
        layers=tuple(_load_layer(document, layer) for layer in topology.layers), batch_num=batch_num(document)
    )
    config.selected(topology)
    return config


def _dump_data(activation: UlqConfig) -> dict[str, Any]:
    written: dict[str, Any] = {"algo": "ulq_quantize"}
    for key in ("clip_max", "clip_min", "fixed_min"):
        if getattr(activation, key) is not None:
            written[key] = getattr(activation, key)
    return written


def _dump_weight(weight: ArqRetrainConfig) -> dict[str, Any]:
    written: dict[str, Any] = {"algo": "arq_retrain"}
    if weight.bits != ArqRetrainConfig.bits:
        written["dst_type"] = f"INT{weight.bits}"
    return written | {"channel_wise": weight.channel_wise}


def _load_layer(document: JsonReader, layer: QuantizableLayer) -> RetrainLayerConfig:
    if layer.name not in document.value:  # AMCT: an absent layer is not quantized
        weight = ArqRetrainConfig(channel_wise=layer.kind is LayerKind.CONV)
        return RetrainLayerConfig(name=layer.name, enabled=False, weight=weight)
    reader = document.inside(layer.name, _LAYER_KEYS)
    return RetrainLayerConfig(
        name=layer.name,
        enabled=reader.take("retrain_enable", bool, True),
        activation=load_data(reader.inside("retrain_data_config", _DATA_KEYS)),
        weight=load_weight(reader.inside("retrain_weight_config", _WEIGHT_KEYS), layer),
    )


def load_data(reader: JsonReader) -> UlqConfig:
    """A layer's ``retrain_data_config``."""
    reader.only("algo", "ulq_quantize")
    reader.only("dst_type", "INT8")
    clip_max, clip_min = (reader.take(key, float, None) for key in ("clip_max", "clip_min"))
    if clip_max is None and clip_min is not None:
        reader.fail("clip_min", "given without clip_max", "give both, or neither")
    if clip_min is None and clip_max is not None:
        reader.fail("clip_max", "given without clip_min", "give both, or neither")
    if clip_max is not None and not 0 < clip_max < _LARGEST:
        reader.fail("clip_max", f"found {clip_max}", "expected a float32 above 0, about the largest activation")
    if clip_min is not None and not -_LARGEST < clip_min < 0:
        reader.fail("clip_min", f"found {clip_min}", "expected a float32 below 0; fixed_min makes it 0")
    return UlqConfig(
        clip_max=None if clip_max is None else float(clip_max),
        clip_min=None if clip_min is None else float(clip_min),
        fixed_min=reader.take("fixed_min", bool, None),
    )


def load_weight(reader: JsonReader, layer: QuantizableLayer) -> ArqRetrainConfig:
    """A layer's ``retrain_weight_config``."""
    reader.only("algo", "arq_retrain")
    width = reader.take("dst_type", str, "INT8")
    if width not in _WEIGHT_TYPES:
        reader.fail("dst_type", f"found {width!r}", f"expected one of {', '.join(_WEIGHT_TYPES)}")
    return ArqRetrainConfig(bits=_WEIGHT_TYPES[width], channel_wise=channel_wise(reader, layer))


_LARGEST = 1e30  # far from the end of float32, where clip_max - clip_min would overflow
