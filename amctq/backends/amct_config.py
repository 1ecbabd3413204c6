"""What amctq has decided, laid upon the configuration that AMCT itself writes for a network.

AMCT writes the file and amctq changes values in it, so that keys of releases that amctq does not know stay as they
are. Layers that AMCT does not list stay in float; those that amctq cannot follow are switched off.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from amctq.amct_files import config_json, retrain_json
from amctq.amct_files.config_layers import dump_json
from amctq.choices import ActAlgo, WeightAlgo
from amctq.errors import InputError
from amctq.json_file import read_json_object
from amctq.progress import Reporter
from amctq.quant.config import ActivationConfig, LayerConfig, NetworkConfig, QuantConfig
from amctq.quant.retrain_config import RetrainConfig, UlqConfig

_Activation = TypeVar("_Activation")
_HINT = "change that layer, or use --backend native"


def check_config(config: QuantConfig) -> None:
    """Refuse what AMCT's MindSpore front end does not have.

    Raises:
        InputError: a layer asks for it.
    """
    for layer in config.enabled.values():
        activation, weight = layer.activation, layer.weight
        if activation.algo is not ActAlgo.IFMR or weight.algo is not WeightAlgo.ARQ or weight.bits != 8:
            asked = f"{activation.algo.value}, {weight.algo.value}, {weight.bits} bits"
            message = f"layer {layer.name}: {asked}: amct_mindspore has ifmr, arq, 8 bits"
            raise InputError(message, hint=_HINT)


def check_retrain_config(config: RetrainConfig) -> None:
    """The same of retraining.

    Raises:
        InputError: a layer asks for it.
    """
    for layer in config.enabled.values():
        if layer.weight.bits != 8:
            message = f"layer {layer.name}: weights of {layer.weight.bits} bits: amct_mindspore has 8"
            raise InputError(message, hint=_HINT)


def lay_config(path: Path, config: QuantConfig, reporter: Reporter) -> bytes:
    """Change AMCT's ``config.json`` at ``path`` to say what ``config`` says; gives its content.

    Raises:
        InputError: no layer is left.
    """

    def lay_layer(entry: dict[str, Any], layer: LayerConfig[ActivationConfig]) -> None:
        activation, weight = layer.activation, layer.weight
        params = entry.setdefault(config_json.LAYOUT.activation, {})
        params |= {key: getattr(activation, key) for key in config_json.KEYS_OF[ActAlgo.IFMR]}
        if activation.asymmetric != config.activation_offset or "asymmetric" in params:
            params["asymmetric"] = activation.asymmetric
        entry.setdefault(config_json.LAYOUT.weight, {})["channel_wise"] = weight.channel_wise

    head = {key: getattr(config, key) for key in config_json.FUSION_KEYS}
    return _lay(path, config, head, config_json.LAYOUT.switch, lay_layer, reporter)


def lay_retrain_config(path: Path, config: RetrainConfig, reporter: Reporter) -> bytes:
    """The same for ``retrain_quant_config.json``.

    Raises:
        InputError: as ``lay_config``.
    """

    def lay_layer(entry: dict[str, Any], layer: LayerConfig[UlqConfig]) -> None:
        entry.setdefault(retrain_json.LAYOUT.activation, {}).update(retrain_json.given_clips(layer.activation))
        entry.setdefault(retrain_json.LAYOUT.weight, {})["channel_wise"] = layer.weight.channel_wise

    return _lay(path, config, {}, retrain_json.LAYOUT.switch, lay_layer, reporter)


def enabled_layers(content: bytes, switch: str) -> set[str]:
    """Names of the layers that a configuration quantizes."""
    document = json.loads(content)
    return {name for name, entry in document.items() if isinstance(entry, dict) and entry.get(switch)}


def _lay(
    path: Path,
    config: NetworkConfig[_Activation],
    head: Mapping[str, Any],
    switch: str,
    lay_layer: Callable[[dict[str, Any], LayerConfig[_Activation]], None],
    reporter: Reporter,
) -> bytes:
    """Change the keys of the network, the switch of every layer, and the layers that are quantized."""
    document = read_json_object(path, what="configuration", option="--backend amct", takes="what AMCT writes")
    document |= head
    listed = [name for name, entry in document.items() if isinstance(entry, dict)]
    known, enabled = {layer.name for layer in config.layers}, config.enabled
    for names, why in (
        ([name for name in enabled if name not in listed], "amct_mindspore does not quantize it"),
        ([name for name in listed if name not in known], "amctq cannot follow it"),
    ):
        if names:
            reporter.warn(f"{', '.join(names)} stays in float: {why}")
    if not enabled.keys() & set(listed):
        message = "no layer is left to quantize: amct_mindspore and the configuration agree on none"
        raise InputError(message, hint="enable at least one layer, or use --backend native")
    for name in listed:
        layer = enabled.get(name)
        document[name][switch] = layer is not None
        if layer is not None:
            lay_layer(document[name], layer)
    content = dump_json(document)
    path.write_bytes(content)
    return content
