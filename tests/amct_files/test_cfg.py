"""AMCT's simplified configurations, protobuf text: priorities, line numbers, and what is kinder than AMCT."""

from __future__ import annotations

from pathlib import Path

import pytest

from amctq.amct_files.config_file import open_config
from amctq.amct_files.config_json import dump_config
from amctq.amct_files.retrain_json import dump_retrain_config
from amctq.choices import ActAlgo
from amctq.errors import InputError
from amctq.graph.topology import read_topology
from amctq.quant.config import ActivationConfig, QuantConfig, WeightConfig
from amctq.quant.default_config import default_config
from amctq.quant.layers import Topology
from amctq.quant.retrain_config import RetrainConfig, UlqConfig, default_retrain_config
from tests.graph.graphs import residual_graph

FILE = Path("simple.cfg")
# The three levels (docs/en/reference.md, "Simplified .cfg"), each with a search of its own.
LEVELS = """# ours
activation_offset : true
skip_layers : "end_point"
do_fusion : true
common_config : {
    arq_quantize : { channel_wise : true }
    ifmr_quantize : { search_range_start : 0.7  search_range_end : 1.3  search_step : 0.02 max_percentile : 0.9999 }
}
override_layer_types : {
    layer_type : "Conv2d"
    calibration_config : { ifmr_quantize < search_step: 1e-1, asymmetric: false > }
}
override_layer_configs {
    layer_name : "conv1"
    calibration_config : { arq_quantize : { channel_wise : false } }
}
"""


@pytest.fixture
def topology() -> Topology:
    """Convolutions and a Dense, ``end_point``."""
    return read_topology(residual_graph())


def _read(text: str, topology: Topology, warnings: list[str] | None = None) -> QuantConfig:
    FILE.write_text(text)
    return open_config(FILE).quant_config(topology, (warnings if warnings is not None else []).append)


def _read_retrain(text: str, topology: Topology, warnings: list[str] | None = None) -> RetrainConfig:
    FILE.write_text(text)
    config = open_config(FILE, retrain=True)
    return config.retrain_config(topology, (warnings if warnings is not None else []).append)


def test_a_file_that_says_nothing_is_every_default(topology: Topology) -> None:
    assert _read("", topology) == default_config(topology)
    assert _read_retrain("# nothing\n", topology) == default_retrain_config(topology)


def test_an_override_by_name_wins_over_one_by_type_and_that_over_the_common_one(topology: Topology) -> None:
    warnings: list[str] = []
    config = _read(LEVELS, topology, warnings)
    layers = {layer.name: layer for layer in config.layers}
    assert [layer.name for layer in config.layers if not layer.enabled] == ["end_point"]
    assert layers["conv1"].activation == ActivationConfig(), "an override replaces the common configuration whole"
    assert not layers["conv1"].weight.channel_wise
    other = next(layer for name, layer in layers.items() if name not in {"conv1", "end_point"})
    assert (other.activation.search_step, other.activation.asymmetric) == (0.1, False)
    assert other.activation.max_percentile == ActivationConfig.max_percentile
    assert other.weight.channel_wise
    dense = layers["end_point"].activation
    assert (dense.search_step, dense.max_percentile, dense.search_range) == (0.02, 0.9999, (0.7, 1.3))
    assert warnings == [], "a Dense that is skipped needs no correction"


def test_channel_wise_of_a_dense_in_the_common_configuration_is_corrected_and_said(topology: Topology) -> None:
    """AMCT refuses this file, and for a skipped Dense as well."""
    warnings: list[str] = []
    config = _read("common_config {\n  arq_quantize { channel_wise: true }\n}\n", topology, warnings)
    assert config == default_config(topology)
    (warning,) = warnings
    assert "line 2" in warning
    assert "end_point" in warning
    warnings.clear()
    text = "retrain_weight_quant_config {\n  arq_retrain { channel_wise: true }\n}\n"
    assert _read_retrain(text, topology, warnings) == default_retrain_config(topology)
    assert len(warnings) == 1


def test_hfmg_of_amcts_other_front_ends_is_read_too(topology: Topology) -> None:
    config = _read("batch_num: 2 common_config { hfmg_quantize { num_of_bins: 2048 asymmetric: false } }", topology)
    assert {layer.activation.algo for layer in config.layers} == {ActAlgo.HFMG}
    assert {layer.activation.num_of_bins for layer in config.layers} == {2048}
    assert config.batch_num == open_config(FILE).batch_num == 2


def test_the_configuration_goes_into_the_json_file_and_back(topology: Topology) -> None:
    config = _read(LEVELS, topology)
    Path("config.json").write_bytes(dump_config(config))
    assert open_config(Path("config.json")).quant_config(topology, pytest.fail) == config
    retrain = _read_retrain('override_layer_types { layer_type: "nn.Dense" }\nskip_layers: ["conv1"]', topology)
    Path("retrain.json").write_bytes(dump_retrain_config(retrain))
    assert open_config(Path("retrain.json"), retrain=True).retrain_config(topology, pytest.fail) == retrain


def test_retraining_has_its_own_fields(topology: Topology) -> None:
    text = """
retrain_data_quant_config { ulq_quantize { clip_max_min { clip_max: 3.0 clip_min: -3.0 } } }
quant_skip_types: "Dense"
override_layer_configs {
  layer_name: "conv1"
  retrain_data_quant_config { ulq_quantize { fixed_min: true } }
  retrain_weight_quant_config { arq_retrain { channel_wise: false } }
}
"""
    layers = {layer.name: layer for layer in _read_retrain(text, topology).layers}
    assert not layers["end_point"].enabled
    assert layers["conv1"].activation == UlqConfig(fixed_min=True)
    assert layers["conv1"].weight == WeightConfig(channel_wise=False)
    other = next(layer for name, layer in layers.items() if name not in {"conv1", "end_point"})
    assert other.activation == UlqConfig(clip_max=3.0, clip_min=-3.0)


def test_json_is_told_from_cfg_by_its_content(topology: Topology) -> None:
    Path("config.cfg").write_bytes(dump_config(default_config(topology)))
    assert open_config(Path("config.cfg")).quant_config(topology, pytest.fail) == default_config(topology)
    Path("config.json").write_text("do_fusion: true")
    with pytest.raises(InputError, match="no JSON"):
        open_config(Path("config.json"))


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("do_fusion: true\nskip_layer: 'x'", "line 2: unknown field skip_layer", "did you mean skip_layers?"),
        ("do_fusion: true\ncommon_config {", "line 2: no protobuf text", "--config takes"),
        ("do_fusion: 3", "line 1: no protobuf text", "--config takes"),
        ("do_fusion: true\ndo_fusion: false", "line 2: no protobuf text", "--config takes"),
        ("\nskip_layers: 'conv1'\nskip_layers: 'conf2'", "line 3: skip_layers: 'conf2' is no layer", "did you mean"),
        ("skip_layer_types: 'LSTM'", "line 1: skip_layer_types: found 'LSTM'", "Conv2d, Dense"),
        (
            "common_config {\n ifmr_quantize {\n  max_percentile: 0.4 } }",
            "line 3: common_config.ifmr_quantize.max_percentile: found 0.4",
            "more than 0.5",
        ),
        (
            "common_config {\n ifmr_quantize { search_range_start: 2 } }",
            "line 2: .*found .2.0, 1.3.",
            "0 < first < last",
        ),
        ("common_config { hfmg_quantize {}\nifmr_quantize {} }", "line 1: .*hfmg_quantize: and ifmr", "leave one"),
        ("override_layer_configs {\n layer_name: 'conv9' }", "line 2: .*'conv9' is no layer", "did you mean"),
        ("override_layer_types { }", "line 1: .*layer_type: is missing", "an override says"),
        (
            "override_layer_configs { layer_name: 'conv1' }\noverride_layer_configs { layer_name: 'conv1' }",
            "line 2: .*duplicate override of .conv1.",
            "remove one",
        ),
        (
            "override_layer_configs { layer_name: 'end_point'\n"
            "calibration_config { arq_quantize {\n channel_wise: true } } }",
            "line 3: .*channel_wise: true for a Dense",
            "set it to false",
        ),
        ("skip_fusion_layers: 'end_point'", "line 1: skip_fusion_layers: 'end_point' is no layer with", ""),
        ("batch_num: 0", "line 1: batch_num: found 0", ""),
        ("skip_layer_types: ['Conv2d', 'Dense']", "no layer is left", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_line(topology: Topology, text: str, says: str, hint: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        _read(text, topology)
    assert hint in str(refused.value.hint)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("activation_offset: true", "unknown field activation_offset"),
        (
            "retrain_data_quant_config {\n ulq_quantize {\n clip_max_min { clip_max: 3 } } }",
            "line 3: .*clip_max: given without clip_min",
        ),
        (
            "retrain_data_quant_config { ulq_quantize { clip_max_min { clip_max: -1 clip_min: -2 } } }",
            "clip_max: found -1",
        ),
    ],
)
def test_what_is_wrong_in_a_file_of_retraining(topology: Topology, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        _read_retrain(text, topology)
