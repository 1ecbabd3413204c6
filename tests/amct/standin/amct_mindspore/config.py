"""The two JSON files: written with defaults, read back strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amct_mindspore.layers import Layer

_TOP = {"version": int, "activation_offset": bool, "do_fusion": bool, "skip_fusion_layers": list}
_ACTIVATION = {
    "max_percentile": float,
    "min_percentile": float,
    "search_range": list,
    "search_step": float,
    "asymmetric": bool,
}


def write_config(path: str, layers: dict[str, Layer], *, skip: set[str], activation_offset: bool) -> None:
    """``config.json``."""
    document: dict[str, Any] = {
        "version": 1,
        "activation_offset": activation_offset,
        "do_fusion": True,
        "skip_fusion_layers": [],
    }
    for name in sorted(layers):
        document[name] = {
            "quant_enable": name not in skip,
            "activation_quant_params": {
                "max_percentile": 0.999999,
                "min_percentile": 0.999999,
                "search_range": [0.7, 1.3],
                "search_step": 0.01,
            },
            "weight_quant_params": {"channel_wise": layers[name].kind == "Conv2d"},
        }
    _dump(path, document)


def write_retrain_config(path: str, layers: dict[str, Layer]) -> None:
    """``retrain_quant_config.json``."""
    document: dict[str, Any] = {"version": 1}
    for name in sorted(layers):
        document[name] = {
            "retrain_enable": True,
            "retrain_data_config": {"algo": "ulq_quantize"},
            "retrain_weight_config": {"algo": "arq_retrain", "channel_wise": layers[name].kind == "Conv2d"},
        }
    _dump(path, document)


def _dump(path: str, document: dict[str, Any]) -> None:
    Path(path).write_text(json.dumps(document, indent=4, separators=(",", ":")) + "\n")


def read_config(path: str, layers: dict[str, Layer]) -> dict[str, Any]:
    """``config.json``, checked: a ValueError names what is wrong."""
    document = _load(path)
    _known(document, {**_TOP, **dict.fromkeys(layers, dict)}, "")
    for name in layers:
        entry = document.get(name)
        if entry is None:
            continue
        kinds = {"quant_enable": bool, "activation_quant_params": dict, "weight_quant_params": dict}
        _known(entry, kinds, f"{name}.")
        _known(entry.get("activation_quant_params", {}), _ACTIVATION, f"{name}.activation_quant_params.")
        _channel_wise(entry.get("weight_quant_params", {}), {"channel_wise": bool}, layers[name])
    for name in document.get("skip_fusion_layers", []):
        if name not in layers or layers[name].norm is None:
            raise ValueError(f"skip_fusion_layers: {name} cannot be fused")
    if not any(document.get(name, {}).get("quant_enable", False) for name in layers):
        raise ValueError("no layer left to quantize")
    return document


def read_retrain_config(path: str, layers: dict[str, Layer]) -> dict[str, Any]:
    """``retrain_quant_config.json``, checked."""
    document = _load(path)
    _known(document, {"version": int, **dict.fromkeys(layers, dict)}, "")
    for name in layers:
        entry = document.get(name)
        if entry is None:
            continue
        kinds = {"retrain_enable": bool, "retrain_data_config": dict, "retrain_weight_config": dict}
        _known(entry, kinds, f"{name}.")
        data = entry.get("retrain_data_config", {})
        _known(data, {"algo": str, "clip_max": float, "clip_min": float, "fixed_min": bool}, f"{name}.data.")
        if ("clip_max" in data) != ("clip_min" in data):
            raise ValueError(f"{name}: clip_max and clip_min are given together")
        _channel_wise(entry.get("retrain_weight_config", {}), {"algo": str, "channel_wise": bool}, layers[name])
    if not any(document.get(name, {}).get("retrain_enable", False) for name in layers):
        raise ValueError("no layer left to retrain")
    return document


def _load(path: str) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"{path}: a duplicate key")
        return dict(pairs)

    document: dict[str, Any] = json.loads(Path(path).read_text(), object_pairs_hook=unique)
    if document.get("version") != 1:
        raise ValueError(f"{path}: version must be 1")
    return document


def _known(found: dict[str, Any], kinds: dict[str, type], where: str) -> None:
    for key, value in found.items():
        if key not in kinds:
            raise ValueError(f"unknown key {where}{key}")
        if not isinstance(value, kinds[key]) and not (kinds[key] is float and isinstance(value, int)):
            raise ValueError(f"{where}{key} must be {kinds[key].__name__}")


def _channel_wise(weight: dict[str, Any], kinds: dict[str, type], layer: Layer) -> None:
    _known(weight, kinds, f"{layer.name}.weights.")
    if layer.kind == "Dense" and weight.get("channel_wise"):
        raise ValueError(f"{layer.name}: channel_wise must be False for layer type Dense")
