"""AMCT's ``config.json``, read strictly and written as AMCT writes it (docs/en/reference.md, "config.json")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from amctq.amct_files import ada_quantize, auto_calibration
from amctq.amct_files.cfg_parts import quant_parts
from amctq.amct_files.config_layers import LayerReaders, Layout, batch_num, channel_wise, dump_layers, load_layers
from amctq.amct_files.config_pools import PoolReaders
from amctq.amct_files.layer_names import match_names
from amctq.choices import WEIGHT_BITS, ActAlgo, WeightAlgo
from amctq.errors import nearest
from amctq.json_file import JsonReader
from amctq.quant.config import ActivationConfig, LayerConfig, QuantConfig, TableConfig, WeightConfig
from amctq.quant.layers import EmbeddingTable, QuantizableLayer, Topology

_ACTIVATION_BITS = 8
_CANDIDATES = 10_000
_NUMBERS_OF_BINS = (1024, 2048, 4096, 8192)
# Of older versions and other front ends: they say that nothing more is quantized, and weights without offset.
_ONLY: dict[str, Any] = {"joint_quant": False, "weight_offset": False, "tensor_quantize": []}
# Parameters that mean something to one observer only.
KEYS_OF = {
    ActAlgo.IFMR: ("max_percentile", "min_percentile", "search_range", "search_step"),
    ActAlgo.HFMG: ("num_of_bins",),
}
# AMCT's own names, and those of amctq's that follow their pattern.
_WRITTEN_ALGOS = {f"{algo.value}_quantize": algo for algo in WeightAlgo}
_WEIGHT_ALGOS = _WRITTEN_ALGOS | {ada_quantize.NAME: WeightAlgo.GPTQ}
FUSION_KEYS = ("activation_offset", "do_fusion", "skip_fusion_layers")
LAYOUT = Layout(
    file="config.json",
    schema="PtqConfig",
    parts=quant_parts,
    keys=("version", "batch_num", *FUSION_KEYS, "fakequant_precision_mode", *_ONLY, auto_calibration.KEY),
    switch="quant_enable",
    activation="activation_quant_params",
    activation_keys=("num_bits", "act_algo", "asymmetric", *KEYS_OF[ActAlgo.IFMR], *KEYS_OF[ActAlgo.HFMG]),
    weight="weight_quant_params",
    weight_keys=("num_bits", "wts_algo", "channel_wise", *ada_quantize.KEYS),
    width="num_bits",
    lacking={"dmq_balancer_param": "amctq has no DMQ balancer"},
    by_name=True,
    pools=True,
)
# What AMCT writes for a mean over windows, which has no weight.
_POOL_WEIGHT = WeightConfig(channel_wise=False)


def dump_config(config: QuantConfig) -> bytes:
    """The file, with every key that AMCT writes, in AMCT's order; AMCT reads it where there is no embedding table."""
    head = {key: getattr(config, key) for key in FUSION_KEYS}
    written = replace(config, layers=(*config.layers, *config.pools))
    return dump_layers(written, LAYOUT, head, _dump_activation, _dump_weight, config.tables)


def load_config(
    document: JsonReader,
    layers: Iterable[LayerReaders],
    topology: Topology,
    pools: Iterable[PoolReaders],
    warn: Callable[[str], None],
) -> QuantConfig:
    """A configuration for a network; what the file does not say takes AMCT's defaults.

    Args:
        document: the keys of the network.
        layers: what the file says of each layer.
        topology: of the network.
        pools: what the file says of each mean over windows.
        warn: called with what amctq does in another way than the file says, in words.

    Raises:
        InputError: the file has an unknown key, a value out of range, or a layer that the network lacks. The message
            names the key, and the line in a ``.cfg``.
    """
    for key, value in _ONLY.items():
        document.only(key, value)
    auto_calibration.check(document, warn)
    offset, layers = document.take("activation_offset", bool, True), tuple(layers)
    config = QuantConfig(
        layers=load_layers(layers, partial(_load_activation, offset), _load_weight),
        activation_offset=offset,
        do_fusion=document.take("do_fusion", bool, True),
        skip_fusion_layers=_load_skip_fusion(document, topology),
        batch_num=batch_num(document) or QuantConfig.batch_num,
        pools=tuple(
            LayerConfig(
                name=pool.name,
                enabled=pool.enabled,
                activation=_load_activation(offset, pool.activation),
                weight=_POOL_WEIGHT,
            )
            for pool in pools
        ),
        tables=tuple(_load_table(document, table) for table in topology.tables),
    )
    config.selected(topology)
    trained = [item.layer.name for item in layers if item.enabled and _is_adaptive(item.weight)]
    if trained:
        warn(ada_quantize.answer(trained, every=len(trained) == len(config.enabled)))
    return config


def _dump_activation(activation: ActivationConfig) -> dict[str, Any]:
    own = {key: getattr(activation, key) for key in KEYS_OF.get(activation.algo, ())}
    common = {"act_algo": activation.algo.value, "asymmetric": activation.asymmetric}
    # AMCT's order: the keys of IFMR come before what all observers have, the one of HFMG after it.
    after = activation.algo is ActAlgo.HFMG
    return {"num_bits": _ACTIVATION_BITS} | (common | own if after else own | common)


def _dump_weight(weight: WeightConfig) -> dict[str, Any]:
    algo = f"{weight.algo.value}_quantize"
    return {"num_bits": weight.bits, "channel_wise": weight.channel_wise, "wts_algo": algo}


def _load_weight(reader: JsonReader, layer: QuantizableLayer) -> WeightConfig:
    bits = reader.choice("num_bits", WEIGHT_BITS, WeightConfig.bits)
    default, hint = f"{WeightConfig.algo.value}_quantize", f"amctq has {', '.join(_WRITTEN_ALGOS)}"
    algo = reader.choice("wts_algo", tuple(_WEIGHT_ALGOS), default, hint)
    if _is_adaptive(reader):
        ada_quantize.check_parameters(reader)
    else:
        for key in ada_quantize.KEYS:
            if key in reader.value:
                owner = ada_quantize.NAME
                reader.fail(key, f"belongs to {owner}, and wts_algo is {algo}", "take it out of the file")
    return WeightConfig(bits=bits, algo=_WEIGHT_ALGOS[algo], channel_wise=channel_wise(reader, layer))


def _load_table(document: JsonReader, table: EmbeddingTable) -> TableConfig:
    """What the file says of an embedding table, in which AMCT quantizes nothing."""
    reader = document.inside(table.name, (LAYOUT.switch, LAYOUT.weight))
    weight = reader.inside(LAYOUT.weight, LAYOUT.weight_keys)
    weight.only("num_bits", WeightConfig.bits)
    weight.only("wts_algo", f"{WeightConfig.algo.value}_quantize")
    return TableConfig(
        name=table.name,
        enabled=reader.take(LAYOUT.switch, bool, table.name in document.value),
        weight=WeightConfig(channel_wise=weight.take("channel_wise", bool, True)),
    )


def _is_adaptive(weight: JsonReader) -> bool:
    return weight.value.get("wts_algo") == ada_quantize.NAME


def _load_activation(offset: bool, reader: JsonReader) -> ActivationConfig:
    reader.only("num_bits", _ACTIVATION_BITS)
    names = [algo.value for algo in ActAlgo]
    algo = reader.choice("act_algo", names, ActAlgo.IFMR.value, nearest(str(reader.value.get("act_algo")), names))
    for owner, keys in KEYS_OF.items():
        for key in keys:
            if key in reader.value and algo != owner.value:
                reader.fail(key, f"belongs to {owner.value}, and act_algo is {algo}", "take one of the two out")
    default = ActivationConfig()
    bins = reader.choice("num_of_bins", _NUMBERS_OF_BINS, default.num_of_bins)
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
        asymmetric=reader.take("asymmetric", bool, offset),
        max_percentile=_percentile(reader, "max_percentile"),
        min_percentile=_percentile(reader, "min_percentile"),
        search_range=(float(search[0]), float(search[1])),
        search_step=step,
        num_of_bins=bins,
    )


def _percentile(reader: JsonReader, key: str) -> float:
    found = float(reader.take(key, float, getattr(ActivationConfig, key)))
    if not 0.5 < found <= 1.0:
        reader.fail(key, f"found {found}", "expected more than 0.5 and at most 1.0")
    return found


def _load_skip_fusion(document: JsonReader, topology: Topology) -> tuple[str, ...]:
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
