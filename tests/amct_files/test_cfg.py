"""AMCT's simplified configurations, protobuf text: priorities, line numbers, and what is kinder than AMCT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from amctq.amct_files.config_file import open_config
from amctq.amct_files.config_json import dump_config
from amctq.amct_files.retrain_json import dump_retrain_config
from amctq.choices import ActAlgo, WeightAlgo
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
    config = _read(LEVELS, topology)
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


def test_an_override_keeps_what_amct_keeps_of_the_common_configuration(topology: Topology) -> None:
    """``asymmetric``, where both have the same observer and the common configuration names it."""
    common = "common_config { ifmr_quantize { asymmetric: false search_step: 0.02 } }\n"
    override = "override_layer_configs { layer_name: 'conv1' calibration_config { %s } }"
    for said, asymmetric in (
        ("", False),
        ("arq_quantize { channel_wise: true }", False),
        ("ifmr_quantize { search_step: 0.05 }", False),
        ("ifmr_quantize { asymmetric: true }", True),
        ("hfmg_quantize { }", True),
    ):
        layers = {layer.name: layer.activation for layer in _read(common + override % said, topology).layers}
        assert layers["conv1"].asymmetric is asymmetric, said
        assert layers["conv1"].search_step != 0.02
        assert (layers["left"].asymmetric, layers["left"].search_step) == (False, 0.02)
    assert _read("common_config { }" + override % "", topology) == default_config(topology)


@pytest.mark.parametrize("skipped", ["", "skip_layers: 'end_point' "])
def test_channel_wise_of_a_dense_is_refused_as_amct_does_it_for_a_skipped_one_too(
    skipped: str, topology: Topology
) -> None:
    says = "line 2: .*channel_wise: true for a Dense, end_point"
    with pytest.raises(InputError, match=says) as refused:
        _read(f"{skipped}common_config {{\n  arq_quantize {{ channel_wise: true }}\n}}\n", topology)
    assert "override_layer_types" in str(refused.value.hint)
    with pytest.raises(InputError, match=says):
        _read_retrain(f"{skipped}retrain_weight_quant_config {{\n  arq_retrain {{ channel_wise: true }} }}", topology)


@pytest.mark.parametrize("dense", ["Dense", "nn.Dense", "Linear", "nn.Linear"])
def test_a_dense_is_pytorchs_linear(dense: str, topology: Topology) -> None:
    override = f"override_layer_types {{ layer_type: '{dense}' calibration_config {{ arq_quantize {{ channel_wise: %s"
    config = _read(override % "false } } } common_config { arq_quantize { channel_wise: true } }", topology)
    assert config == default_config(topology)
    enabled = _read(f"skip_layer_types: '{dense}'", topology).enabled
    assert list(enabled) == ["conv1", "left", "right"]
    assert list(_read_retrain(f"quant_skip_types: '{dense}'", topology).enabled) == ["conv1", "left", "right"]
    assert list(_read_retrain(f"skip_layer_types: ['{dense}', 'Conv1d']", topology).enabled) == [*enabled]
    with pytest.raises(InputError, match=r"duplicate override of 'Linear'"):
        _read(
            f"override_layer_types {{ layer_type: '{dense}' }} override_layer_types {{ layer_type: 'Linear' }}",
            topology,
        )


def test_layers_may_have_the_names_of_another_front_end(topology: Topology) -> None:
    text = """
skip_layers: 'fc'
skip_fusion_layers: 'module.conv1'
override_layer_configs { layer_name: '/left/Conv' calibration_config { arq_quantize { channel_wise: false } } }
"""
    config = _read(text, topology)
    assert list(config.enabled) == ["conv1", "left", "right"]
    assert not config.enabled["left"].weight.channel_wise
    assert config.skip_fusion_layers == ("conv1",)
    with pytest.raises(InputError, match=r"duplicate override of 'module\.conv1'"):
        _read(
            "override_layer_configs { layer_name: 'conv1' } override_layer_configs { layer_name: 'module.conv1' }",
            topology,
        )


def test_quant_bits_are_the_width_of_weights(topology: Topology) -> None:
    """Where AMCT has no such width for a layer, it makes 8 bits of the common configuration, and says so."""
    warnings: list[str] = []
    arq = "{ arq_quantize { quant_bits: %d } }"
    config = _read("common_config " + arq % 4, topology, warnings)
    assert {layer.name: layer.weight.bits for layer in config.layers} == {
        **{"conv1": 8, "left": 4, "right": 4, "end_point": 4}
    }
    (warning,) = warnings
    assert "conv1: its 3 input channels are an odd number" in warning
    warnings.clear()
    config = _read("common_config " + arq % 7, topology, warnings)
    assert {layer.name: layer.weight.bits for layer in config.layers if layer.weight.bits != 7} == {"end_point": 8}
    assert "end_point: 7 bits are for convolutions" in warnings[0]
    with pytest.raises(InputError, match="quant_bits: 7 bits are for convolutions, and end_point is a Dense"):
        _read("override_layer_types { layer_type: 'Linear' calibration_config " + arq % 7 + " }", topology)
    with pytest.raises(InputError, match=r"line 1: common_config\.arq_quantize\.quant_bits: found 5"):
        _read("common_config " + arq % 5, topology)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("common_config { arq_quantize { quant_bits: 3 } }", 3),
        ("override_layer_types { layer_type: 'Conv2d' calibration_config { arq_quantize { quant_bits: 2 } } }", 2),
        ("common_config { arq_quantize { quant_bits: 7 } ifmr_quantize { dst_type: INT8 } }", 7),
        ("", 8),
        ('{"conv1": {"weight_quant_params": {"num_bits": 4}}}', 4),
        ('{"conv1": {"quant_enable": false, "weight_quant_params": {"num_bits": 2}}}', 8),
    ],
)
def test_the_narrowest_weights_are_known_before_there_is_a_network(text: str, bits: int) -> None:
    """They say whether AMCT's record can hold what the run yields."""
    FILE.write_text(text)
    assert open_config(FILE).narrowest_weights == bits


def test_widths_of_retraining_are_dst_type(topology: Topology) -> None:
    data = "retrain_data_quant_config { ulq_quantize { dst_type: %s } }\n"
    config = _read_retrain(data % "INT8" + "retrain_weight_quant_config { arq_retrain { dst_type: INT4 } }", topology)
    assert {layer.weight.bits for layer in config.layers} == {4}
    with pytest.raises(InputError, match="dst_type: found 'INT16'"):
        _read_retrain(data % "INT16", topology)
    _read("common_config { ifmr_quantize { dst_type: INT8 } }", topology)
    for observer in ("ifmr", "hfmg"):
        with pytest.raises(InputError, match=f"line 2: .*{observer}_quantize.dst_type: found 'INT16'") as refused:
            _read(f"common_config {{\n {observer}_quantize {{ dst_type: INT16 }} }}", topology)
        assert "'INT8' only" in str(refused.value.hint)


@pytest.mark.parametrize(
    "text",
    [
        "common_config {\n dmq_balancer { migration_strength: 0.5 } }",
        "common_config {\n nuq_config { } }",
        "\ntensor_quantize { }",
        "\nconv_calibration_config { }",
    ],
)
def test_what_amctq_does_not_have_is_refused_by_its_name(text: str, topology: Topology) -> None:
    name = text.split("\n")[1].split()[0].rstrip(":")
    with pytest.raises(InputError, match=f"line 2: amctq does not have {name}, ") as refused:
        _read(text, topology)
    assert refused.value.hint == "take it out of the file"


def test_gptq_answers_ada_quantize(topology: Topology) -> None:
    warnings: list[str] = []
    text = "common_config { ada_quantize { num_iteration: 0 beta_range_end: 1.5 channel_wise: false } }"
    config = _read(text, topology, warnings)
    assert {layer.weight for layer in config.layers} == {WeightConfig(algo=WeightAlgo.GPTQ, channel_wise=False)}
    assert [warning for warning in warnings if "ada_quantize of all 4 layers is answered by GPTQ" in warning]
    config = _read(
        "override_layer_configs { layer_name: 'left' calibration_config { ada_quantize { } } }", topology, []
    )
    assert {layer.name for layer in config.layers if layer.weight.algo is WeightAlgo.GPTQ} == {"left"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ("num_iteration: -1", "line 3: .*ada_quantize.num_iteration: found -1"),
        ("num_iteration: 1.5", "line 3: no protobuf text"),
        ("reg_param: 1", "line 3: .*ada_quantize.reg_param: found 1"),
        ("reg_param: nan", "line 3: .*ada_quantize.reg_param: found nan"),
        ("warm_start: 0", "line 3: .*ada_quantize.warm_start: found 0"),
        ("beta_range_start: 2", r"line 3: .*ada_quantize.beta_range_start: found \[2.0, 2.0\]"),
        ("beta_range_end: 20", r"line 3: .*ada_quantize.beta_range_end: found \[20.0, 20.0\]"),
        ("beta_range_start: inf", "line 3: .*ada_quantize.beta_range_start: found"),
        ("channel_wise: true", "line 3: .*ada_quantize.channel_wise: true for a Dense"),
        ("quant_bits: 8", "line 3: unknown field quant_bits"),
        ("} arq_quantize {", "line 2: common_config.ada_quantize: and arq_quantize both say"),
    ],
)
def test_mistakes_in_ada_quantize_are_named_with_their_line(fields: str, says: str, topology: Topology) -> None:
    with pytest.raises(InputError, match=says):
        _read(f"common_config {{\n ada_quantize {{\n {fields} }} }}", topology)


@pytest.mark.parametrize("read", [_read, _read_retrain])
def test_the_default_precision_of_fake_quantization_says_nothing(
    read: Callable[[str, Topology], object], topology: Topology
) -> None:
    assert read("fakequant_precision_mode: DEFAULT", topology) == read("", topology)
    with pytest.raises(InputError, match="line 2: fakequant_precision_mode: found 'FORCE_FP16_QUANT'") as refused:
        read("\nfakequant_precision_mode: FORCE_FP16_QUANT", topology)
    assert refused.value.hint == "amctq has DEFAULT only"


@pytest.mark.parametrize(
    "text",
    ["retrain_weight_quant_config {\n ulq_retrain { } }", "\nprune_config { }", "\nregular_prune_skip_layers: 'conv1'"],
)
def test_what_amctq_does_not_have_in_retraining_is_refused_by_its_name(text: str, topology: Topology) -> None:
    name = text.split("\n")[1].split()[0].rstrip(":")
    with pytest.raises(InputError, match=f"line 2: amctq does not have {name}, "):
        _read_retrain(text, topology)


def test_what_older_front_ends_add_without_meaning_anything_else_is_read(topology: Topology) -> None:
    found = _read("joint_quant: false weight_offset: false skip_layer_types: 'AvgPool2d'", topology)
    assert not any(pool.enabled for pool in found.pools)
    assert replace(found, pools=()) == default_config(topology)
    with pytest.raises(InputError, match="line 1: joint_quant: found true"):
        _read("joint_quant: true", topology)


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
