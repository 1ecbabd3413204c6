"""AMCT's ``config.json``, read strictly and written as AMCT writes it (docs/en/reference.md, "config.json")."""

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
from amctq.amct_files.layer_names import match_names
from amctq.choices import WEIGHT_BITS, ActAlgo, WeightAlgo
from amctq.errors import nearest
from amctq.quant.config import ActivationConfig, LayerConfig, QuantConfig, WeightConfig
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology

EXPECTED = "config.json"
_CANDIDATES = 10_000
_GLOBAL_KEYS = (
    "version",
    "batch_num",
    "activation_offset",
    "do_fusion",
    "skip_fusion_layers",
    "fakequant_precision_mode",
    "joint_quant",
    "weight_offset",
    "tensor_quantize",
)
# Of older versions and other front ends: they say that nothing more is quantized, and weights without offset.
_ONLY: dict[str, Any] = {"joint_quant": False, "weight_offset": False, "tensor_quantize": []}
_LAYER_KEYS = ("quant_enable", "dmq_balancer_param", "activation_quant_params", "weight_quant_params")
_ACTIVATION_KEYS = (
    "num_bits",
    "act_algo",
    "asymmetric",
    "max_percentile",
    "min_percentile",
    "search_range",
    "search_step",
    "num_of_bins",
)
# Parameters that mean something to one observer alone.
_KEYS_OF = {
    ActAlgo.IFMR: ("max_percentile", "min_percentile", "search_range", "search_step"),
    ActAlgo.HFMG: ("num_of_bins",),
}
_NUMBERS_OF_BINS = (1024, 2048, 4096, 8192)
# Of ada_quantize, which amctq does not have; then wts_algo is what is wrong.
_ADA_KEYS = ("num_iteration", "reg_param", "beta_range", "warm_start")
_WEIGHT_KEYS = ("num_bits", "wts_algo", "channel_wise", *_ADA_KEYS)
# AMCT's own name, and one of amctq's that follows its pattern.
_WEIGHT_ALGOS = {f"{algo.value}_quantize": algo for algo in WeightAlgo}


def dump_config(config: QuantConfig) -> bytes:
    """The file, layers sorted by name, as AMCT's MindSpore front end writes it.

    ``act_algo`` and ``asymmetric``, ``num_bits`` and ``wts_algo`` of weights are written where they say something that
    the classic keys do not.
    """
    document: dict[str, Any] = {"version": VERSION}
    if config.batch_num is not None:
        document["batch_num"] = config.batch_num
    document["activation_offset"] = config.activation_offset
    document["do_fusion"] = config.do_fusion
    document["skip_fusion_layers"] = list(config.skip_fusion_layers)
    for layer in sorted(config.layers, key=lambda item: item.name):
        document[layer.name] = {
            "quant_enable": layer.enabled,
            "activation_quant_params": _dump_activation(layer.activation, config.activation_offset),
            "weight_quant_params": _dump_weight(layer.weight),
        }
    return dump_json(document)


def load_config(document: JsonReader, topology: Topology) -> QuantConfig:
    """The file for a network; what it does not say takes AMCT's defaults.

    Raises:
        InputError: it has an unknown key, a value out of range, or a layer that the network
            lacks. The message names the key.
    """
    document = checked_top(document, topology, _GLOBAL_KEYS, "quant_enable")
    for key, value in _ONLY.items():
        document.only(key, value)
    offset = document.take("activation_offset", bool, True)
    config = QuantConfig(
        layers=tuple(_load_layer(document, layer, activation_offset=offset) for layer in topology.layers),
        activation_offset=offset,
        do_fusion=document.take("do_fusion", bool, True),
        skip_fusion_layers=load_skip_fusion(document, topology),
        batch_num=batch_num(document),
    )
    config.selected(topology)
    return config


def _dump_activation(activation: ActivationConfig, offset: bool) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if activation.algo is not ActAlgo.IFMR:
        written["act_algo"] = activation.algo.value
    if activation.asymmetric != offset:
        written["asymmetric"] = activation.asymmetric
    if activation.algo is ActAlgo.IFMR:
        written |= {
            "max_percentile": activation.max_percentile,
            "min_percentile": activation.min_percentile,
            "search_range": list(activation.search_range),
            "search_step": activation.search_step,
        }
    if activation.algo is ActAlgo.HFMG:
        written["num_of_bins"] = activation.num_of_bins
    return written


def _dump_weight(weight: WeightConfig) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if weight.bits != WeightConfig.bits:
        written["num_bits"] = weight.bits
    if weight.algo is not WeightConfig.algo:
        written["wts_algo"] = next(name for name, algo in _WEIGHT_ALGOS.items() if algo is weight.algo)
    return written | {"channel_wise": weight.channel_wise}


def _load_layer(document: JsonReader, layer: QuantizableLayer, *, activation_offset: bool) -> LayerConfig:
    if layer.name not in document.value:  # AMCT: an absent layer is not quantized
        return LayerConfig(
            name=layer.name,
            enabled=False,
            activation=ActivationConfig(asymmetric=activation_offset),
            weight=WeightConfig(channel_wise=layer.kind is LayerKind.CONV),
        )
    reader = document.inside(layer.name, _LAYER_KEYS)
    if "dmq_balancer_param" in reader.value:
        reader.fail("dmq_balancer_param", "amctq has no DMQ balancer", "take it out of the file")
    return LayerConfig(
        name=layer.name,
        enabled=reader.take("quant_enable", bool, True),
        activation=load_activation(reader.inside("activation_quant_params", _ACTIVATION_KEYS), activation_offset),
        weight=load_weight(reader.inside("weight_quant_params", _WEIGHT_KEYS), layer),
    )


def load_weight(reader: JsonReader, layer: QuantizableLayer) -> WeightConfig:
    """A layer's ``weight_quant_params``."""
    bits = reader.take("num_bits", int, WeightConfig.bits)
    if bits not in WEIGHT_BITS:
        reader.fail("num_bits", f"found {bits}", f"expected one of {', '.join(map(str, WEIGHT_BITS))}")
    algo = reader.take("wts_algo", str, f"{WeightConfig.algo.value}_quantize")
    if algo not in _WEIGHT_ALGOS:
        reader.fail("wts_algo", f"found {algo!r}", f"amctq has {' and '.join(_WEIGHT_ALGOS)}")
    for key in _ADA_KEYS:
        if key in reader.value:
            reader.fail(key, f"belongs to ada_quantize, and wts_algo is {algo}", "take it out of the file")
    return WeightConfig(bits=bits, algo=_WEIGHT_ALGOS[algo], channel_wise=channel_wise(reader, layer))


def load_activation(reader: JsonReader, activation_offset: bool) -> ActivationConfig:
    """A layer's ``activation_quant_params``."""
    reader.only("num_bits", 8)
    names = [algo.value for algo in ActAlgo]
    algo = reader.take("act_algo", str, ActAlgo.IFMR.value)
    if algo not in names:
        reader.fail("act_algo", f"found {algo!r}", nearest(algo, names))
    for owner, keys in _KEYS_OF.items():
        for key in keys:
            if key in reader.value and algo != owner.value:
                reader.fail(key, f"belongs to {owner.value}, and act_algo is {algo}", "take one of the two out")
    default = ActivationConfig()
    bins = reader.take("num_of_bins", int, default.num_of_bins)
    if bins not in _NUMBERS_OF_BINS:
        reader.fail("num_of_bins", f"found {bins}", f"expected one of {', '.join(map(str, _NUMBERS_OF_BINS))}")
    search = reader.take("search_range", list, list(default.search_range))
    numbers = [value for value in search if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(search) != 2 or len(numbers) != 2 or not 0 < search[0] < search[1]:
        reader.fail("search_range", f"found {search}", "expected two numbers, 0 < first < last")
    step = float(reader.take("search_step", float, default.search_step))
    if not 0 < step <= search[1] - search[0]:
        reader.fail("search_step", f"found {step}", "expected more than 0 and at most last - first of search_range")
    if (search[1] - search[0]) / step > _CANDIDATES:
        reader.fail("search_step", f"found {step}", f"it would make more than {_CANDIDATES:,} candidates")
    return ActivationConfig(
        algo=ActAlgo(algo),
        asymmetric=reader.take("asymmetric", bool, activation_offset),
        max_percentile=_percentile(reader, "max_percentile", default.max_percentile),
        min_percentile=_percentile(reader, "min_percentile", default.min_percentile),
        search_range=(float(search[0]), float(search[1])),
        search_step=step,
        num_of_bins=bins,
    )


def _percentile(reader: JsonReader, key: str, default: float) -> float:
    found = float(reader.take(key, float, default))
    if not 0.5 < found <= 1.0:
        reader.fail(key, f"found {found}", "expected more than 0.5 and at most 1.0")
    return found


def load_skip_fusion(document: JsonReader, topology: Topology) -> tuple[str, ...]:
    """The layers that keep their BatchNorm."""
    given = document.take("skip_fusion_layers", list, [])
    meant = match_names((name for name in given if isinstance(name, str)), topology).layers
    names = [meant.get(name, name) if isinstance(name, str) else name for name in given]
    fusable = [layer.name for layer in topology.layers if layer.batch_norm is not None]
    for name in names:
        if name not in fusable:
            hint = nearest(str(name), fusable)
            document.fail("skip_fusion_layers", f"{name!r} is no layer with a BatchNorm to fuse", hint)
    return tuple(names)
