"""AMCT's ``retrain_quant_config.json``, read strictly and written as AMCT writes it.

The format is AMCT's (docs/en/reference.md, "retrain_quant_config.json").
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amctq.amct_files.cfg_parts import retrain_parts
from amctq.amct_files.config_layers import LayerReaders, Layout, batch_num, channel_wise, dump_layers, load_layers
from amctq.choices import WEIGHT_BITS
from amctq.json_file import JsonReader
from amctq.quant.config import WeightConfig
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.retrain_config import RetrainConfig, UlqConfig

_CLIPS = ("clip_max", "clip_min", "fixed_min")
_LARGEST = 1e30  # far from the end of float32, where clip_max - clip_min would overflow
# AMCT's own names of widths are INT4 and INT8; amctq has others too.
_WEIGHT_TYPES = {f"INT{bits}": bits for bits in WEIGHT_BITS}
LAYOUT = Layout(
    file="retrain_quant_config.json",
    schema="QatConfig",
    parts=retrain_parts,
    keys=("version", "batch_num", "fakequant_precision_mode"),
    switch="retrain_enable",
    activation="retrain_data_config",
    activation_keys=("algo", "dst_type", *_CLIPS),
    weight="retrain_weight_config",
    weight_keys=("algo", "dst_type", "channel_wise"),
    width="dst_type",
    lacking={},
    by_name=False,
)


def dump_retrain_config(config: RetrainConfig) -> bytes:
    """The file, with every key that AMCT writes, in AMCT's order.

    ``clip_max``, ``clip_min`` and ``fixed_min`` are written where they say something, as AMCT does it.
    """
    return dump_layers(config, LAYOUT, {}, _dump_data, _dump_weight)


def load_retrain_config(document: JsonReader, layers: Iterable[LayerReaders], topology: Topology) -> RetrainConfig:
    """A configuration for a network, as ``config_json.load_config`` gives one.

    Raises:
        InputError: as there.
    """
    config = RetrainConfig(
        layers=load_layers(layers, _load_data, _load_weight),
        batch_num=batch_num(document) or RetrainConfig.batch_num,
    )
    config.selected(topology)
    return config


def given_clips(activation: UlqConfig) -> dict[str, Any]:
    """The keys of a layer's input that say something."""
    return {key: value for key in _CLIPS if (value := getattr(activation, key)) is not None}


def _dump_data(activation: UlqConfig) -> dict[str, Any]:
    return {"algo": "ulq_quantize", **given_clips(activation), "dst_type": "INT8"}


def _dump_weight(weight: WeightConfig) -> dict[str, Any]:
    return {"algo": "arq_retrain", "channel_wise": weight.channel_wise, "dst_type": f"INT{weight.bits}"}


def _load_data(reader: JsonReader) -> UlqConfig:
    reader.only("algo", "ulq_quantize")
    reader.only("dst_type", "INT8")
    clip_max, clip_min = (reader.take(key, float, None) for key in ("clip_max", "clip_min"))
    if (clip_max is None) != (clip_min is None):
        given, other = ("clip_min", "clip_max") if clip_max is None else ("clip_max", "clip_min")
        reader.fail(given, f"given without {other}", "give both, or neither")
    if clip_max is not None and not 0 < clip_max < _LARGEST:
        reader.fail("clip_max", f"found {clip_max}", "expected a float32 above 0, about the largest activation")
    if clip_min is not None and not -_LARGEST < clip_min < 0:
        reader.fail("clip_min", f"found {clip_min}", "expected a float32 below 0; fixed_min makes it 0")
    return UlqConfig(
        clip_max=None if clip_max is None else float(clip_max),
        clip_min=None if clip_min is None else float(clip_min),
        fixed_min=reader.take("fixed_min", bool, None),
    )


def _load_weight(reader: JsonReader, layer: QuantizableLayer) -> WeightConfig:
    reader.only("algo", "arq_retrain")
    width = reader.choice("dst_type", tuple(_WEIGHT_TYPES), "INT8")
    return WeightConfig(bits=_WEIGHT_TYPES[width], channel_wise=channel_wise(reader, layer))
