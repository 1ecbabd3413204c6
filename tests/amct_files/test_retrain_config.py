"""AMCT's retrain_quant_config.json: written as AMCT writes it, read strictly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amctq.amct_files.config_file import open_config
from amctq.amct_files.retrain_json import dump_retrain_config
from amctq.errors import InputError, UsageError
from amctq.graph.topology import read_topology
from amctq.quant.config import WeightConfig
from amctq.quant.layers import Topology
from amctq.quant.retrain_config import (
    RetrainConfig,
    UlqConfig,
    default_retrain_config,
)
from tests.graph.graphs import residual_graph

# (docs/en/reference.md, "retrain_quant_config.json"), the layers of tests/graph/graphs.py in the place of a ResNet's.
CLASSIC = """{
    "version":1,
    "batch_num":1,
    "conv1":{
        "retrain_enable":true,
        "retrain_data_config":{
            "algo":"ulq_quantize",
            "dst_type":"INT8"
        },
        "retrain_weight_config":{
            "algo":"arq_retrain",
            "channel_wise":true,
            "dst_type":"INT8"
        }
    },
    "end_point":{
        "retrain_enable":true,
        "retrain_data_config":{
            "algo":"ulq_quantize",
            "dst_type":"INT8"
        },
        "retrain_weight_config":{
            "algo":"arq_retrain",
            "channel_wise":false,
            "dst_type":"INT8"
        }
    }
}
"""
DATA, WEIGHT = "retrain_data_config", "retrain_weight_config"


@pytest.fixture
def topology() -> Topology:
    return read_topology(residual_graph())


@pytest.fixture
def document() -> dict[str, Any]:
    value = json.loads(CLASSIC)
    assert isinstance(value, dict)
    return value


def _load(document: Any, topology: Topology, path: Path = Path("retrain.json")) -> RetrainConfig:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return open_config(path, retrain=True).retrain_config(topology, pytest.fail)


def test_the_file_is_amcts_to_the_letter(topology: Topology) -> None:
    only = topology.only({"conv1", "end_point"})
    assert dump_retrain_config(default_retrain_config(only)).decode() == CLASSIC


def test_absent_layers_are_not_retrained(topology: Topology) -> None:
    config = _load(CLASSIC, topology)
    assert list(config.enabled) == ["conv1", "end_point"]
    assert [layer.name for layer in config.selected(topology).layers] == ["conv1", "end_point"]


@pytest.mark.parametrize(
    "options", [{}, {"weight_bits": 4}, {"weight_bits": 6, "per_tensor": True}, {"skip": ["left", "conv*"]}]
)
def test_what_is_written_is_read_back(options: dict[str, Any], topology: Topology) -> None:
    config = default_retrain_config(topology, **options)
    assert _load(dump_retrain_config(config).decode(), topology) == config


def test_clips_widths_and_batches_are_read_back(topology: Topology) -> None:
    config = default_retrain_config(topology)
    changed = replace(
        config.layers[0],
        activation=UlqConfig(clip_max=3.0, clip_min=-3.0, fixed_min=False),
        weight=WeightConfig(bits=4, channel_wise=False),
    )
    config = replace(config, layers=(changed, *config.layers[1:]), batch_num=2)
    written = json.loads(dump_retrain_config(config))
    assert written["batch_num"] == 2
    assert list(written["conv1"][DATA].items()) == [
        *(("algo", "ulq_quantize"), ("clip_max", 3.0), ("clip_min", -3.0), ("fixed_min", False), ("dst_type", "INT8"))
    ]
    assert list(written["conv1"][WEIGHT].items()) == [
        *(("algo", "arq_retrain"), ("channel_wise", False), ("dst_type", "INT4"))
    ]
    assert _load(written, topology) == config


def test_one_clip_alone_is_no_range() -> None:
    with pytest.raises(ValueError, match="together"):
        UlqConfig(clip_max=1.0)


@pytest.mark.parametrize(
    ("place", "value", "says", "hint"),
    [
        pytest.param(["version"], 2, "version: found 2", "manual", id="version"),
        pytest.param(["activation_offset"], True, "neither a layer", "expected one of", id="a-key-of-ptq"),
        pytest.param(["conv2"], {}, "conv2: neither a layer", "conv1?", id="unknown-layer"),
        pytest.param(
            ["conv1", "quant_enable"], True, "conv1.quant_enable", "retrain_enable?", id="key-of-ptq-in-layer"
        ),
        pytest.param(["conv1", "retrain_enable"], "yes", "conv1.retrain_enable", "true or false", id="no-bool"),
        pytest.param(["conv1", DATA, "algo"], "ifmr", "found 'ifmr'", "'ulq_quantize' only", id="data-algo"),
        pytest.param(["conv1", DATA, "dst_type"], "INT4", "found 'INT4'", "'INT8' only", id="data-width"),
        pytest.param(["conv1", DATA, "clip_max"], 3, "given without clip_min", "both", id="clip-max-alone"),
        pytest.param(["conv1", DATA, "clip_min"], -3, "given without clip_max", "both", id="clip-min-alone"),
        pytest.param(["conv1", DATA], {"clip_max": 0, "clip_min": -1}, "clip_max: found 0", "above 0", id="clip-max-0"),
        pytest.param(
            ["conv1", DATA], {"clip_max": 1, "clip_min": 0.5}, "clip_min: found 0.5", "below 0", id="clip-min-above-0"
        ),
        pytest.param(
            ["conv1", DATA], {"clip_max": 1e39, "clip_min": -1}, "clip_max: found", "a float32", id="clip-no-float32"
        ),
        pytest.param(["conv1", DATA, "fixed_min"], 1, "fixed_min: found 1", "true or false", id="fixed-min"),
        pytest.param(["conv1", WEIGHT, "algo"], "ulq_retrain", "ulq_retrain", "'arq_retrain' only", id="weight-algo"),
        pytest.param(["conv1", WEIGHT, "dst_type"], "INT5", "found 'INT5'", "INT8, INT7, INT6, INT4", id="width"),
        pytest.param(["conv1", WEIGHT, "num_bits"], 4, "unknown key", "expected one of", id="num-bits"),
        pytest.param(["end_point", WEIGHT, "channel_wise"], True, "true for a Dense", "false", id="dense"),
        pytest.param(["batch_num"], 0, "batch_num: found 0", "calibration batches", id="batch-num"),
        pytest.param(["conv1"], 3, "conv1: found 3", "an object", id="layer-no-object"),
    ],
)
def test_errors_name_the_key_and_the_way_out(
    place: list[str], value: object, says: str, hint: str, document: dict[str, Any], topology: Topology
) -> None:
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    with pytest.raises(InputError) as caught:
        _load(document, topology)
    assert says in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("{", "is no JSON", "retrain_quant_config.json"),
        ("[]", "expected a JSON object", "retrain_quant_config.json"),
        ('{"version":1,"version":1}', "duplicate key version", "remove one"),
        ('{"conv1":{},"conv1":{}}', "duplicate key conv1", "remove one"),
        ('{"version":1}', "no layer is left", "enable"),
        ('{"conv1":{"retrain_data_config":{"clip_max":NaN,"clip_min":-1}}}', "is no JSON", "retrain"),
    ],
)
def test_files_that_are_no_configuration(text: str, says: str, hint: str, topology: Topology) -> None:
    with pytest.raises(InputError, match=says) as caught:
        _load(text, topology)
    assert hint in (caught.value.hint or "")


def test_a_pattern_that_matches_nothing_is_reported(topology: Topology) -> None:
    with pytest.raises(UsageError, match="matches no layer"):
        default_retrain_config(topology, skip=["lefft"])
