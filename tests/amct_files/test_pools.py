"""Means over windows in AMCT's configurations and records: PyTorch's front end quantizes nn.AvgPool2d."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amctq.amct_files.config_file import open_config
from amctq.amct_files.config_json import dump_config
from amctq.amct_files.pool_names import match_pools
from amctq.amct_files.record_names import record_of
from amctq.amct_files.record_text import dump_record, parse_record
from amctq.errors import InputError
from amctq.graph.topology import read_topology
from amctq.quant.config import QuantConfig
from amctq.quant.default_config import default_config
from amctq.quant.layers import PoolLayer, Topology
from amctq.quant.numerics import QParams
from amctq.quant.record import PoolRecord
from tests.graph.graphs import residual_graph

POOL = "avgpool"
ENTRY = {
    "quant_enable": True,
    "activation_quant_params": {"num_bits": 8, "act_algo": "ifmr", "asymmetric": False, "search_step": 0.05},
    "weight_quant_params": {"num_bits": 8, "wts_algo": "arq_quantize", "channel_wise": False},
}
RECORD = 'record { key: "avgpool" value { scale_d: 0.5 offset_d: -128 scale_w: 1 offset_w: 0 act_type: "INT8" } }'
CONV = 'record { key: "conv1" value { scale_d: 0.5 offset_d: 3 scale_w: 0.25 offset_w: 0 } }\n'


def _pool(name: str) -> PoolLayer:
    return PoolLayer(name=name, node=f"{name}.AvgPool", input="j", output="k")


@pytest.fixture
def topology() -> Topology:
    """One mean over windows, which no cell of its own computes."""
    return read_topology(residual_graph())


def _json(topology: Topology, entries: dict[str, Any], warnings: list[str] | None = None) -> QuantConfig:
    document = json.loads(dump_config(default_config(topology)))
    Path("config.json").write_text(json.dumps(document | entries))
    return open_config(Path("config.json")).quant_config(topology, (warnings if warnings is not None else []).append)


def _cfg(topology: Topology, text: str, warnings: list[str] | None = None) -> QuantConfig:
    Path("simple.cfg").write_text(text)
    return open_config(Path("simple.cfg")).quant_config(topology, (warnings if warnings is not None else []).append)


def test_a_pool_that_no_file_names_stays_in_float(topology: Topology) -> None:
    assert len(topology.pools) == 1
    for config in (default_config(topology), _json(topology, {}), _cfg(topology, "")):
        assert config.selected(topology).pools == ()
        assert config.pools_in_float(topology) == frozenset()


@pytest.mark.parametrize("name", [POOL, "net.pool", "/avgpool/AveragePool", "avg_pool_2d"])
def test_the_only_pool_is_meant_whatever_its_name(name: str, topology: Topology) -> None:
    config = _json(topology, {name: ENTRY})
    (pool,) = config.pools
    assert pool.name == topology.pools[0].name
    assert not pool.activation.asymmetric
    assert pool.activation.search_step == 0.05
    assert config.selected(topology).pools == topology.pools
    assert list(config.enabled) == [layer.name for layer in topology.layers]


def test_one_that_is_switched_off_is_known_too(topology: Topology) -> None:
    config = _json(topology, {POOL: ENTRY | {"quant_enable": False}})
    assert config.selected(topology).pools == ()
    assert config.pools_in_float(topology) == {topology.pools[0].node}


def test_the_written_configuration_has_it_again(topology: Topology) -> None:
    named = replace(topology, pools=(_pool(POOL),))
    written = json.loads(dump_config(_json(named, {POOL: ENTRY})))
    assert written[POOL]["quant_enable"] is True
    assert written[POOL]["activation_quant_params"]["search_step"] == 0.05
    assert written[POOL]["weight_quant_params"]["channel_wise"] is False
    assert list(written).index(POOL) < list(written).index("conv1"), "AMCT sorts by name"


def test_what_the_network_lacks_is_said_and_the_rest_is_used(topology: Topology) -> None:
    warnings: list[str] = []
    entries = {"pool_a": ENTRY, "pool_b": ENTRY, "pool_c": ENTRY | {"quant_enable": False}}
    config = _json(topology, entries, warnings)
    assert config.pools == ()
    assert list(config.enabled) == [layer.name for layer in topology.layers]
    assert warnings == [
        "--config: pool_a, pool_b stays in float: no average pool of this network is known to be meant by that name"
    ]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (ENTRY | {"weight_quant_params": {"channel_wise": True}}, "avgpool.weight_quant_params.channel_wise: true"),
        (ENTRY | {"activation_quant_params": {"search_range": [2, 1]}}, "search_range"),
        (ENTRY | {"nonsense": 1}, "avgpool.nonsense: unknown key"),
        (ENTRY | {"quant_enable": "yes"}, "avgpool.quant_enable"),
    ],
)
def test_a_pool_is_read_as_strictly_as_a_layer(entry: dict[str, Any], says: str, topology: Topology) -> None:
    with pytest.raises(InputError, match=says):
        _json(topology, {POOL: entry})


def test_a_cfg_names_pools_by_layer_and_by_type(topology: Topology) -> None:
    by_name = """override_layer_configs {
        layer_name : "avgpool" calibration_config : { ifmr_quantize : { search_step : 0.1 } }
    }"""
    by_type = by_name.replace("layer_configs", "layer_types").replace(
        'layer_name : "avgpool"', 'layer_type : "AvgPool2d"'
    )
    for text in (by_name, by_type):
        (pool,) = _cfg(topology, text).pools
        assert pool.enabled
        assert pool.activation.search_step == 0.1
    for off in ('skip_layers : "avgpool"', 'skip_layer_types : "AvgPool2d"'):
        for text in ("", by_name, by_type):
            (pool,) = _cfg(topology, text + off).pools
            assert not pool.enabled
    with pytest.raises(InputError, match=r"line 2: .*channel_wise: true for an average pool"):
        _cfg(
            topology, by_name.replace("ifmr_quantize : { search_step : 0.1 }", "arq_quantize : { channel_wise : true }")
        )


def test_a_record_gives_the_pool_its_scale(topology: Topology) -> None:
    record, names = record_of(parse_record((CONV + RECORD).encode(), "it"), topology)
    assert [layer.name for layer in record.layers] == ["conv1"]
    assert record.pools == (PoolRecord(name=topology.pools[0].name, activation=QParams(0.5, -128)),)
    assert names.renamed == {POOL: topology.pools[0].name}
    assert not names.unknown
    text = dump_record(record)
    assert text.decode().endswith(
        f'record {{\n  key: "{topology.pools[0].name}"\n  value {{\n    scale_d: 0.5\n    offset_d: -128\n'
        '    scale_w: 1.0\n    offset_w: 0\n    act_type: "INT8"\n  }\n}\n'
    )
    again, _ = record_of(parse_record(text, "it"), topology)
    assert again.pools == record.pools


def test_a_pool_that_the_network_lacks_does_not_spoil_a_record(topology: Topology) -> None:
    record, names = record_of(parse_record((CONV + RECORD).encode(), "it"), topology.without_pools("that is so"))
    assert [layer.name for layer in record.layers] == ["conv1"]
    assert record.pools == ()
    assert names.unknown == (POOL,)


def test_a_layer_that_the_network_lacks_still_does(topology: Topology) -> None:
    with pytest.raises(InputError, match="layer avgpool is not in this network"):
        record_of(parse_record((CONV + RECORD.replace("scale_w: 1", "scale_w: 0.5")).encode(), "it"), topology)
    with pytest.raises(InputError, match="no layer of this network"):
        record_of(parse_record(RECORD.encode(), "it"), topology)


def test_pools_are_told_apart_by_their_cells(topology: Topology) -> None:
    several = replace(topology, pools=(_pool("stem.avg_pool"), _pool("head.avg_pool")))
    matched = match_pools(["head.avgpool", "stem.avgpool"], several)
    assert matched.layers == {"head.avgpool": "head.avg_pool", "stem.avgpool": "stem.avg_pool"}
    assert match_pools(["pool"], several).unknown == ("pool",)
    assert match_pools(["head.avg_pool", "pool"], several).layers["pool"] == "stem.avg_pool"
