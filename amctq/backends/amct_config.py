"""What amctq has decided, laid upon the configuration that AMCT itself writes for a network.

AMCT writes the file and amctq changes values in it, so that keys of releases that amctq does not know stay as they
are. Layers that AMCT does not list stay in float; those that amctq cannot follow are switched off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amctq.amct_files.config_layers import dump_json
from amctq.choices import ActAlgo, WeightAlgo
from amctq.errors import InputError
from amctq.json_file import read_json_object
from amctq.progress import Reporter
from amctq.quant.config import ActivationConfig, LayerConfig, QuantConfig
from amctq.quant.retrain_config import RetrainConfig, RetrainLayerConfig

_GLOBAL = ("version", "batch_num", "activation_offset", "do_fusion", "skip_fusion_layers", "fakequant_precision_mode")
_HINT = "change that layer, or use --backend native"


def lay_config(path: Path, config: QuantConfig, reporter: Reporter) -> None:
    """Change AMCT's ``config.json`` at ``path`` to say what ``config`` says.

    Raises:
        InputError: a layer asks for what AMCT's MindSpore front end has not, or no layer is left.
    """
    document = _read(path)
    document["activation_offset"] = config.activation_offset
    document["do_fusion"] = config.do_fusion
    document["skip_fusion_layers"] = list(config.skip_fusion_layers)
    layers = {layer.name: layer for layer in config.layers}
    enabled = _settle(document, {name: layer.enabled for name, layer in layers.items()}, "quant_enable", reporter)
    for name in enabled:
        _lay_layer(document[name], layers[name], activation_offset=config.activation_offset)
    path.write_bytes(dump_json(document))


def lay_retrain_config(path: Path, config: RetrainConfig, reporter: Reporter) -> None:
    """The same for ``retrain_quant_config.json``.

    Raises:
        InputError: as ``lay_config``.
    """
    document = _read(path)
    layers = {layer.name: layer for layer in config.layers}
    enabled = _settle(document, {name: layer.enabled for name, layer in layers.items()}, "retrain_enable", reporter)
    for name in enabled:
        _lay_retrain_layer(document[name], layers[name])
    path.write_bytes(dump_json(document))


def enabled_layers(content: bytes, switch: str) -> set[str]:
    """Names of the layers that a configuration quantizes."""
    document = json.loads(content)
    return {name for name, entry in document.items() if isinstance(entry, dict) and entry.get(switch)}


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path, what="configuration", option="--backend amct", takes="what AMCT writes")


def _settle(document: dict[str, Any], wanted: Mapping[str, bool], switch: str, reporter: Reporter) -> list[str]:
    """Set the switch of every layer; gives the names of those that are quantized."""
    listed = [name for name, entry in document.items() if name not in _GLOBAL and isinstance(entry, dict)]
    enabled = [name for name in listed if wanted.get(name, False)]
    for name in listed:
        document[name][switch] = name in enabled
    for names, why in (
        ([name for name, on in wanted.items() if on and name not in listed], "amct_mindspore does not quantize it"),
        ([name for name in listed if name not in wanted], "amctq cannot follow it"),
    ):
        if names:
            reporter.warn(f"{', '.join(names)} stays in float: {why}")
    if not enabled:
        message = "no layer is left to quantize: amct_mindspore and the configuration agree on none"
        raise InputError(message, hint="enable at least one layer, or use --backend native")
    return enabled


def _lay_layer(entry: dict[str, Any], layer: LayerConfig[ActivationConfig], *, activation_offset: bool) -> None:
    activation, weight = layer.activation, layer.weight
    if activation.algo is not ActAlgo.IFMR or weight.algo is not WeightAlgo.ARQ or weight.bits != 8:
        asked = f"{activation.algo.value}, {weight.algo.value}, {weight.bits} bits"
        message = f"layer {layer.name}: {asked}: amct_mindspore has ifmr, arq, 8 bits"
        raise InputError(message, hint=_HINT)
    params = entry.setdefault("activation_quant_params", {})
    params["max_percentile"] = activation.max_percentile
    params["min_percentile"] = activation.min_percentile
    params["search_range"] = list(activation.search_range)
    params["search_step"] = activation.search_step
    if activation.asymmetric != activation_offset or "asymmetric" in params:
        params["asymmetric"] = activation.asymmetric
    entry.setdefault("weight_quant_params", {})["channel_wise"] = weight.channel_wise


def _lay_retrain_layer(entry: dict[str, Any], layer: RetrainLayerConfig) -> None:
    if layer.weight.bits != 8:
        message = f"layer {layer.name}: weights of {layer.weight.bits} bits: amct_mindspore has 8"
        raise InputError(message, hint=_HINT)
    data = entry.setdefault("retrain_data_config", {})
    for key in ("clip_max", "clip_min", "fixed_min"):
        value = getattr(layer.activation, key)
        if value is not None:
            data[key] = value
    entry.setdefault("retrain_weight_config", {})["channel_wise"] = layer.weight.channel_wise
