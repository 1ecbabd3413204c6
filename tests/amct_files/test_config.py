"""AMCT's config.json: written as AMCT writes it, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amctq.amct_files.config_file import open_config
from amctq.amct_files.config_json import dump_config
from amctq.choices import ActAlgo, WeightAlgo
from amctq.errors import InputError, UsageError
from amctq.graph.topology import read_topology
from amctq.quant.config import WeightConfig
from amctq.quant.default_config import default_config
from amctq.quant.layers import Topology
from tests.graph.graphs import residual_graph

# (docs/en/reference.md, "config.json"), the layers of tests/graph/graphs.py in the place of a ResNet's.
CLASSIC = """{
    "version":1,
    "batch_num":1,
    "activation_offset":true,
    "do_fusion":true,
    "skip_fusion_layers":[],
    "conv1":{
        "quant_enable":true,
        "activation_quant_params":{
            "num_bits":8,
            "max_percentile":0.999999,
            "min_percentile":0.999999,
            "search_range":[
                0.7,
                1.3
            ],
            "search_step":0.01,
            "act_algo":"ifmr",
            "asymmetric":true
        },
        "weight_quant_params":{
            "num_bits":8,
            "channel_wise":true,
            "wts_algo":"arq_quantize"
        }
    },
    "end_point":{
        "quant_enable":true,
        "activation_quant_params":{
            "num_bits":8,
            "max_percentile":0.999999,
            "min_percentile":0.999999,
            "search_range":[
                0.7,
                1.3
            ],
            "search_step":0.01,
            "act_algo":"ifmr",
            "asymmetric":true
        },
        "weight_quant_params":{
            "num_bits":8,
            "channel_wise":false,
            "wts_algo":"arq_quantize"
        }
    }
}
"""


@pytest.fixture
def topology() -> Topology:
    return read_topology(residual_graph())


@pytest.fixture
def document() -> dict[str, Any]:
    value = json.loads(CLASSIC)
    assert isinstance(value, dict)
    return value


def _load(document: Any, topology: Topology, path: Path = Path("config.json")) -> Any:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return open_config(path).quant_config(topology, pytest.fail)


def test_the_file_is_amcts_to_the_letter(topology: Topology) -> None:
    only = topology.only({"conv1", "end_point"})
    assert dump_config(default_config(only)).decode() == CLASSIC


def test_the_keys_that_only_newer_releases_write_may_be_missing(document: dict[str, Any], topology: Topology) -> None:
    """As in the examples of AMCT's MindSpore manual."""
    whole = _load(CLASSIC, topology)
    del document["batch_num"]
    for name in ("conv1", "end_point"):
        for key in ("num_bits", "act_algo", "asymmetric"):
            del document[name]["activation_quant_params"][key]
        for key in ("num_bits", "wts_algo"):
            del document[name]["weight_quant_params"][key]
    assert _load(document, topology) == whole


def test_absent_layers_are_not_quantized(topology: Topology) -> None:
    config = _load(CLASSIC, topology)
    assert list(config.enabled) == ["conv1", "end_point"]
    assert [layer.name for layer in config.selected(topology).layers] == ["conv1", "end_point"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        *({"algo": algo} for algo in ActAlgo),
        {"symmetric": True},
        {"per_tensor": True},
        {"skip": ["left", "conv*"]},
        {"weight_bits": 4},
        {"weight_bits": 7, "weight_algo": WeightAlgo.MSE, "per_tensor": True},
    ],
    ids=["default", *(algo.value for algo in ActAlgo), "symmetric", "per-tensor", "skip", "4-bits", "7-bits-mse"],
)
def test_what_is_written_is_read_back(options: dict[str, Any], topology: Topology) -> None:
    config = default_config(topology, **options)
    assert _load(dump_config(config).decode(), topology) == config


def test_newer_and_older_keys_are_read(document: dict[str, Any], topology: Topology) -> None:
    document["fakequant_precision_mode"] = "DEFAULT"
    document["conv1"]["activation_quant_params"] |= {"num_bits": 8, "act_algo": "ifmr", "asymmetric": False}
    document["conv1"]["weight_quant_params"] |= {"num_bits": 8, "wts_algo": "arq_quantize"}
    conv1 = _load(document, topology).enabled["conv1"]
    assert not conv1.activation.asymmetric
    assert conv1.activation.algo is ActAlgo.IFMR


# As AMCT's PyTorch and ONNX front ends write them: every default filled in, numbers that have been float32, layers of
# types that MindSpore's front end does not quantize, other spellings of names.
FILLED_IN = """{
    "version":1,
    "batch_num":2,
    "activation_offset":true,
    "joint_quant":false,
    "do_fusion":true,
    "skip_fusion_layers":[
        "%(stem)s"
    ],
    "%(pool)s":{
        "quant_enable":false
    },
    "%(stem)s":{
        "quant_enable":true,
        "activation_quant_params":{
            "num_bits":8,
            "max_percentile":0.999998987,
            "min_percentile":0.999998987,
            "search_range":[
                0.699999988,
                1.29999995
            ],
            "search_step":0.00999999978,
            "act_algo":"ifmr",
            "asymmetric":true
        },
        "weight_quant_params":{
            "num_bits":8,
            "wts_algo":"arq_quantize",
            "channel_wise":true
        }
    },
    "%(head)s":{
        "quant_enable":true,
        "activation_quant_params":{
            "num_bits":8,
            "act_algo":"hfmg",
            "num_of_bins":4096,
            "asymmetric":false
        },
        "weight_quant_params":{
            "num_bits":8,
            "wts_algo":"arq_quantize",
            "channel_wise":false
        }
    }
}
"""


@pytest.mark.parametrize(
    ("stem", "pool", "head"),
    [
        ("conv1", "avgpool", "fc"),
        ("module.conv1", "module.avgpool", "module.fc"),
        ("/conv1/Conv", "/avgpool/AveragePool", "/fc/Gemm"),
    ],
    ids=["pytorch", "pytorch-parallel", "onnx-of-pytorch"],
)
def test_files_of_other_front_ends_are_read(stem: str, pool: str, head: str, topology: Topology) -> None:
    config = _load(FILLED_IN % {"stem": stem, "pool": pool, "head": head}, topology)
    assert list(config.enabled) == ["conv1", "end_point"]
    assert config.enabled["conv1"].activation.search_range == (0.699999988, 1.29999995)
    assert config.enabled["end_point"].activation.algo is ActAlgo.HFMG
    assert not config.enabled["end_point"].activation.asymmetric
    assert (config.batch_num, config.skip_fusion_layers) == (2, ("conv1",))
    # Written again, it has the network's names.
    assert _load(dump_config(config).decode(), topology) == config
    assert '"end_point":{' in dump_config(config).decode()


def test_every_name_that_is_no_layer_is_listed(topology: Topology) -> None:
    text = FILLED_IN % {"stem": "Conv_0", "pool": "avgpool", "head": "Gemm_9"}
    with pytest.raises(InputError, match=r"Conv_0: neither a layer of this network nor a key; nor are Gemm_9$"):
        _load(text, topology)
    with pytest.raises(InputError, match="flatten: neither a layer"):
        _load(
            (FILLED_IN % {"stem": "conv1", "pool": "flatten", "head": "fc"}).replace("false\n    },", "true },"),
            topology,
        )


def test_widths_and_algorithms_of_weights(topology: Topology) -> None:
    written = json.loads(dump_config(default_config(topology, weight_bits=4, weight_algo=WeightAlgo.MSE)))
    assert written["conv1"][WEIGHT] == {"num_bits": 4, "channel_wise": True, "wts_algo": "mse_quantize"}
    assert list(written["conv1"][WEIGHT]) == ["num_bits", "channel_wise", "wts_algo"]
    written["conv1"][WEIGHT]["wts_algo"] = "arq_quantize"
    config = _load(written, topology)
    assert (config.enabled["conv1"].weight.bits, config.enabled["conv1"].weight.algo) == (4, WeightAlgo.ARQ)
    assert config.enabled["end_point"].weight == WeightConfig(bits=4, algo=WeightAlgo.MSE, channel_wise=False)


@pytest.mark.parametrize(
    ("bins", "says"), [(1024, None), (8192, None), (1000, "found 1000"), (4096.0, "found 4096.0"), ("4096", "4096")]
)
def test_hfmg_takes_amcts_numbers_of_bins(
    bins: object, says: str | None, document: dict[str, Any], topology: Topology
) -> None:
    document["conv1"]["activation_quant_params"] = {"act_algo": "hfmg", "num_of_bins": bins}
    if says is None:
        activation = _load(document, topology).enabled["conv1"].activation
        assert activation.algo is ActAlgo.HFMG
        assert activation.num_of_bins == bins
    else:
        with pytest.raises(InputError, match="num_of_bins") as caught:
            _load(document, topology)
        assert says in caught.value.message


def test_activation_offset_is_the_default_of_asymmetric(document: dict[str, Any], topology: Topology) -> None:
    document["activation_offset"] = False
    del document["end_point"]["activation_quant_params"]["asymmetric"]
    config = _load(document, topology)
    assert config.enabled["conv1"].activation.asymmetric
    assert not config.enabled["end_point"].activation.asymmetric


def test_skip_fusion_leaves_the_batch_norm(document: dict[str, Any], topology: Topology) -> None:
    document["skip_fusion_layers"] = ["conv1"]
    layer = _load(document, topology).selected(topology).layers[0]
    assert layer.batch_norm is None
    assert layer.fusion_skipped
    assert layer.output == layer.raw_output
    document |= {"skip_fusion_layers": [], "do_fusion": False}
    assert _load(document, topology).selected(topology).layers[0].fusion_skipped


def test_batch_num_can_be_read_alone(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value for key, value in document.items() if key != "batch_num"}))
    assert open_config(path).batch_num is None
    path.write_text(json.dumps(document | {"batch_num": 3}))
    assert open_config(path).batch_num == 3


ACTIVATION, WEIGHT = "activation_quant_params", "weight_quant_params"


@pytest.mark.parametrize(
    ("place", "value", "says", "hint"),
    [
        pytest.param(["version"], 2, "version: found 2", "manual", id="version-2"),
        pytest.param(["version"], "1", "version: found", "whole number", id="version-text"),
        pytest.param(["activation_offse"], True, "activation_offse", "activation_offset?", id="typo-global"),
        pytest.param(["conv2"], {}, "conv2: neither a layer", "conv1?", id="unknown-layer"),
        pytest.param(["conv1", "quant_enabel"], True, "conv1.quant_enabel", "quant_enable?", id="typo-in-layer"),
        pytest.param(["conv1", "quant_enable"], 1, "conv1.quant_enable", "true or false", id="no-bool"),
        pytest.param(["conv1", ACTIVATION, "max_percentil"], 1, "max_percentil", "max_percentile?", id="typo-deep"),
        pytest.param(["conv1", ACTIVATION, "max_percentile"], 0.5, "max_percentile: found 0.5", "0.5", id="percentile"),
        pytest.param(["conv1", ACTIVATION, "min_percentile"], "x", "min_percentile", "a number", id="percentile-text"),
        pytest.param(["conv1", ACTIVATION, "search_range"], [1.3, 0.7], "search_range", "first < last", id="range"),
        pytest.param(["conv1", ACTIVATION, "search_range"], [0.7], "search_range", "two numbers", id="range-of-one"),
        pytest.param(["conv1", ACTIVATION, "search_step"], 0, "search_step: found 0", "more than 0", id="step-0"),
        pytest.param(["conv1", ACTIVATION, "search_step"], 5, "search_step: found 5", "at most", id="step-5"),
        pytest.param(["conv1", ACTIVATION, "act_algo"], "hmfg", "act_algo: found 'hmfg'", "hfmg?", id="algo"),
        pytest.param(["conv1", ACTIVATION, "act_algo"], "minmax", "belongs to ifmr", "take one", id="algo-and-params"),
        pytest.param(["conv1", ACTIVATION, "num_of_bins"], 4096, "belongs to hfmg", "take one", id="params-of-hfmg"),
        pytest.param(["conv1", ACTIVATION, "num_bits"], 16, "num_bits: found 16", "8 only", id="bits"),
        pytest.param(["conv1", WEIGHT, "wts_algo"], "nuq_quantize", "wts_algo", "mse_quantize", id="weight-algo"),
        pytest.param(["conv1", WEIGHT, "num_iteration"], 1, "num_iteration: belongs to ada", "take it", id="ada"),
        pytest.param(["conv1", "dmq_balancer_param"], 0.5, "dmq_balancer_param: amctq", "take it", id="balancer"),
        pytest.param(["joint_quant"], True, "joint_quant: found true", "false only", id="joint-quant"),
        pytest.param(["weight_offset"], True, "weight_offset: found true", "false only", id="weight-offset"),
        pytest.param(["tensor_quantize"], [{}], "tensor_quantize: found [{}]", "[] only", id="tensor-quantize"),
        pytest.param(["conv1", WEIGHT, "num_bits"], 5, "num_bits: found 5", "8, 7, 6, 4, 3, 2", id="weight-bits"),
        pytest.param(["conv1", WEIGHT, "num_bits"], "4", "num_bits", "a whole number", id="weight-bits-text"),
        pytest.param(
            ["end_point", WEIGHT, "channel_wise"], True, "channel_wise: true for a Dense", "false", id="dense"
        ),
        pytest.param(["skip_fusion_layers"], ["right"], "'right' is no layer with a BatchNorm", "left", id="fusion"),
        pytest.param(["batch_num"], 0, "batch_num: found 0", "calibration batches", id="batch-num"),
        pytest.param(["conv1"], 3, "conv1: found 3", "an object", id="layer-no-object"),
        pytest.param(["fakequant_precision_mode"], "FORCE_FP16_QUANT", "FORCE_FP16", "DEFAULT", id="precision"),
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


ADA = {"wts_algo": "ada_quantize", "num_iteration": 300, "reg_param": 0.1, "beta_range": [20, 2], "warm_start": 0.2}


def test_gptq_answers_ada_quantize_at_the_width_that_the_file_says(
    document: dict[str, Any], topology: Topology, tmp_path: Path
) -> None:
    document["conv1"][WEIGHT] = ADA | {"num_bits": 4, "channel_wise": True}
    document["left"] = {"quant_enable": False, WEIGHT: {"wts_algo": "ada_quantize"}}
    (tmp_path / "config.json").write_text(json.dumps(document))
    warnings: list[str] = []
    config = open_config(tmp_path / "config.json").quant_config(topology, warnings.append)
    assert config.enabled["conv1"].weight == WeightConfig(bits=4, algo=WeightAlgo.GPTQ)
    assert config.enabled["end_point"].weight.algo is WeightAlgo.ARQ
    (warning,) = warnings
    assert "ada_quantize of conv1 is answered by GPTQ" in warning
    # What is written says what was done.
    assert _load(dump_config(config).decode(), topology) == config
    assert json.loads(dump_config(config))["conv1"][WEIGHT]["wts_algo"] == "gptq_quantize"


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("num_iteration", -1, "num_iteration: found -1"),
        ("num_iteration", 0.5, "num_iteration: found 0.5"),
        ("num_iteration", True, "num_iteration: found true"),
        ("reg_param", 0, "reg_param: found 0"),
        ("reg_param", 1.0, "reg_param: found 1.0"),
        ("reg_param", "0.1", "reg_param: found"),
        ("warm_start", 1, "warm_start: found 1"),
        ("warm_start", -0.1, "warm_start: found -0.1"),
        ("beta_range", [2, 20], r"beta_range: found \[2, 20\]"),
        ("beta_range", [20, 0], r"beta_range: found \[20, 0\]"),
        ("beta_range", [20], r"beta_range: found \[20\]"),
        ("beta_range", ["20", 2], "beta_range: found"),
        ("beta_range", 20, "beta_range: found 20"),
        ("num_bits", 5, "num_bits: found 5"),
        ("channel_wise", 1, "channel_wise: found 1"),
        ("iterations", 300, "iterations: unknown key"),
    ],
)
def test_parameters_of_ada_quantize_have_amcts_ranges(
    key: str, value: object, says: str, document: dict[str, Any], topology: Topology, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    document["conv1"][WEIGHT] = ADA | {key: value}
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=rf"conv1\.weight_quant_params\.{says}"):
        open_config(path).quant_config(topology, lambda _: None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[]", "expected a JSON object"),
        ('{"version":1,"version":1}', "duplicate key version"),
        ('{"conv1":{},"conv1":{}}', "duplicate key conv1"),
        ('{"\\ud800":1}', "surrogates not allowed"),
        ('{"\\ud800":1,"\\ud800":1}', "duplicate key .*ud800"),
        ('{"version":1}', "no layer is left"),
    ],
)
def test_files_that_are_no_configuration(text: str, says: str, topology: Topology) -> None:
    with pytest.raises(InputError, match=says):
        _load(text, topology)


def test_a_pattern_that_matches_nothing_is_reported(topology: Topology) -> None:
    with pytest.raises(UsageError, match="matches no layer") as caught:
        default_config(topology, skip=["lefft"])
    assert caught.value.hint == "did you mean left?"


def test_skipping_everything_is_refused(topology: Topology) -> None:
    with pytest.raises(InputError, match="no layer is left"):
        default_config(topology, skip=["*"])


@pytest.mark.parametrize(
    ("name", "text"), [("config.json", CLASSIC), ("simple.cfg", "do_fusion: false\nbatch_num: 2\n")]
)
def test_a_file_is_read_once_with_or_without_bom_whatever_ends_its_lines(
    name: str, text: str, topology: Topology, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    plain = open_config(path).quant_config(topology, pytest.fail)
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    opened = open_config(path)
    path.unlink()  # what is used now was read before
    assert opened.quant_config(topology, pytest.fail) == plain


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    for name in ("config.json", "simple.cfg"):
        for content, says in ((b"\xff\xfe{", "is UTF-16 text"), (b"\x80{", "the byte 0x80 is not UTF-8")):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(InputError, match=says):
                open_config(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot read the configuration .*: No such file"):
        open_config(tmp_path / "nothing.json")
