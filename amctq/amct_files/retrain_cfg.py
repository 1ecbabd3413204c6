"""AMCT's simplified configuration of retraining, ``.cfg``, as the value that ``retrain_quant_config.json`` holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amctq.amct_files.cfg_text import CfgReader, read_cfg
from amctq.amct_files.config_cfg import Choice, skipped_layers
from amctq.amct_files.json_reader import batch_num
from amctq.amct_files.retrain_json import load_data, load_weight
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.retrain_config import RetrainConfig, RetrainLayerConfig

SCHEMA = "QatConfig"


def load_retrain_cfg(path: Path, topology: Topology, warn: Callable[[str], None]) -> RetrainConfig:
    """Read a file for a network; priorities and corrections are those of ``config_cfg.load_cfg``.

    Raises:
        InputError: as there.
    """
    document = read_cfg(path, SCHEMA)
    skipped = skipped_layers(
        document, topology, ("skip_layers", "quant_skip_layers"), ("skip_layer_types", "quant_skip_types")
    )
    chosen = Choice(document, topology, common=document, inner=None)
    config = RetrainConfig(
        layers=tuple(_layer(layer, chosen, enabled=layer.name not in skipped) for layer in topology.layers),
        batch_num=batch_num(document),
    )
    chosen.tell(warn, config.enabled)
    config.selected(topology)
    return config


def _layer(layer: QuantizableLayer, chosen: Choice, *, enabled: bool) -> RetrainLayerConfig:
    reader = chosen.reader(layer)
    weight = reader.message("retrain_weight_quant_config").message("arq_retrain")
    return RetrainLayerConfig(
        name=layer.name,
        enabled=enabled,
        activation=load_data(_clips(reader.message("retrain_data_quant_config").message("ulq_quantize"))),
        weight=load_weight(chosen.weight(weight, layer), layer),
    )


def _clips(ulq: CfgReader) -> CfgReader:
    """``clip_max`` and ``clip_min`` beside ``fixed_min``, as the JSON file has them."""
    clips = ulq.message("clip_max_min")
    fixed = {"fixed_min": ulq.value["fixed_min"]} if "fixed_min" in ulq.value else {}
    return clips.rewritten({**clips.value, **fixed}, {})
