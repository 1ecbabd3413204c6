"""Widths, algorithms and storage of weights, through the command on real images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from amctq.inference.saturation import may_saturate
from amctq.runtime import cpu_instructions, saturates
from tests.command import RECORD_BYTES, Own, Shared
from tests.kernels import kernels
from tests.runs import ptq

INT4, INT8, UINT8 = onnx.TensorProto.INT4, onnx.TensorProto.INT8, onnx.TensorProto.UINT8


def _quantize(shared: Shared, output: str, *more: object) -> dict[str, Any]:
    few = ("--eval-images", 200, "--batch-size", 100, "--output-dir", output)
    return ptq(shared.network("resnet20"), *few, *more).data


def _file(output: str) -> Path:
    return Path(output) / "resnet20_quant.onnx"


def _logits(shared: Shared, output: str, *, precise: bool = False) -> np.ndarray[Any, Any]:
    """In a plain session, as users open one, or with exact sums on every CPU."""
    records = np.fromfile(shared.records / "test_batch.bin", np.uint8).reshape(-1, RECORD_BYTES)[:300]
    images = (records[:, 1:].reshape(-1, 3, 32, 32) / 64 - 2).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", str(int(precise)))
    session = onnxruntime.InferenceSession(_file(output), options, providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": images})[0]
    assert isinstance(logits, np.ndarray)
    return logits


def _weight_types(output: str) -> set[int]:
    graph = onnx.load(_file(output)).graph
    return {item.data_type for item in graph.initializer if item.name.endswith("weight.q")}


def test_int4_storage_is_half_the_file_and_the_same_bits(shared: Shared) -> None:
    alone = ("--weight-bits", 4, "--weight-algo", "arq", "--no-bias-correction")  # what a record can say
    data = _quantize(shared, "plain", *alone, "--placement", "ascend")
    # The record knows the width: no option says it again.
    record = "plain/calibration_record.txt"
    small = _quantize(shared, "small", "--record", record, "--weight-storage", "int4")
    _quantize(shared, "again", "--record", record)
    assert _file("again").read_bytes() == _file("plain").read_bytes()
    assert (_weight_types("plain"), _weight_types("small")) == ({INT8}, {INT4})
    assert small["files"]["onnx"]["int8_bytes"] < 0.6 * data["files"]["onnx"]["int8_bytes"]
    assert np.array_equal(_logits(shared, "small"), _logits(shared, "plain"))
    of_small, of_plain = (kernels(onnx.load(_file(output)), Path()) for output in ("small", "plain"))
    assert of_small == of_plain
    assert of_small.count("QLinearConv") == 9  # those between two quantizers; placement ascend leaves the others
    assert {layer["weight_bits"] for layer in small["quantization"]["layers"]} == {4}
    assert small["quantization"]["weight_storage"] == "int4"
    assert data["accuracy"]["int8"]["top1"] > 80


@pytest.mark.slow
def test_unsigned_weights_are_the_same_bits(shared: Shared) -> None:
    _quantize(shared, "signed", "--placement", "ascend", "--isa", "vnni", "--no-bias-correction")
    data = _quantize(shared, "unsigned", "--record", "signed/calibration_record.txt", "--isa", "avx2")
    assert _weight_types("unsigned") == {UINT8}
    assert np.array_equal(_logits(shared, "unsigned"), _logits(shared, "signed", precise=True))
    # What uint8 is for, on a CPU where it happens; the others are exact in any session.
    plain = np.array_equal(_logits(shared, "unsigned"), _logits(shared, "signed"))
    assert plain != saturates(cpu_instructions())
    assert "QLinearConv" in kernels(onnx.load(_file("unsigned")), Path())
    assert data["quantization"]["isa"] == "avx2"


def test_a_file_is_for_this_cpu(shared: Shared) -> None:
    data = _quantize(shared, "here")
    alone = saturates(cpu_instructions())
    assert _weight_types("here") == {INT8}
    assert data["quantization"]["isa"] in ({"avx2"} if alone else {"vnni", "amx"})
    assert data["quantization"]["arq_rule"] in ({"pairs"} if alone else {"amct", "narrow"})
    assert not (alone and may_saturate(onnx.load(_file("here"))))
    assert not [text for text in data["warnings"] if "session" in text]


def test_weights_in_pairs_are_the_same_in_any_session(shared: Shared) -> None:
    """A file that is fast without VNNI, and exact; those of another algorithm are exact too."""
    data = _quantize(shared, "pairs", "--isa", "avx2")
    assert data["quantization"]["arq_rule"] == "pairs"
    assert _weight_types("pairs") == {INT8}
    assert not may_saturate(onnx.load(_file("pairs")))
    assert np.array_equal(_logits(shared, "pairs"), _logits(shared, "pairs", precise=True))
    _quantize(shared, "mse", "--isa", "avx2", "--weight-algo", "mse")
    assert UINT8 in _weight_types("mse")
    assert np.array_equal(_logits(shared, "mse"), _logits(shared, "mse", precise=True))


@pytest.mark.slow
def test_the_configuration_carries_width_and_algorithm(shared: Shared) -> None:
    options = ["--weight-bits", 7, "--weight-algo", "mse", "--per-tensor"]
    data = _quantize(shared, "options", *options)
    layers = data["quantization"]["layers"]
    assert {(layer["weight_bits"], layer["weight_algo"], layer["weight_scales"]) for layer in layers} == {(7, "mse", 1)}
    config = json.loads(Path("options/config.json").read_text())
    assert config["conv1"]["weight_quant_params"] == {
        "num_bits": 7,
        "wts_algo": "mse_quantize",
        "channel_wise": False,
    }
    # AMCT's batch_num counts whole batches, of which the images fill the last one in part.
    images = data["data"]["calibration"]["images"]
    _quantize(shared, "config", "--config", "options/config.json", "--calib-images", images)
    assert _file("config").read_bytes() == _file("options").read_bytes()


def test_the_number_of_threads_of_numpy_changes_no_bit(shared: Shared) -> None:
    """A run that is resumed where there are fewer cores has the record of the one that was killed."""
    for threads in ("1", "2"):
        few = ("--weight-bits", 4, "--placement", "ascend", "--eval-images", 200, "--output-dir", threads)
        ptq(shared.network("resnet20"), *few, env={"OPENBLAS_NUM_THREADS": threads})
    assert _file("1").read_bytes() == _file("2").read_bytes()


def test_layers_get_widths_of_their_own(shared: Shared) -> None:
    """The last pattern that matches holds; 8 bits are rounded as AMCT does it, fewer by GPTQ."""
    own = (
        "--placement",
        "ascend",
        "--calib-images",
        100,
        "--layer-bits",
        "*=6",
        "--layer-bits",
        "layer3.*=4",
        "--layer-bits",
        "conv1=8",
    )
    data = _quantize(shared, "mixed", *own)
    found = {item["name"]: (item["weight_bits"], item["weight_algo"]) for item in data["quantization"]["layers"]}
    assert found["conv1"] == (8, "arq")
    assert {item for name, item in found.items() if name.startswith("layer3.")} == {(4, "gptq")}
    assert {item for name, item in found.items() if name.startswith(("layer1.", "layer2."))} == {(6, "gptq")}
    weights = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(_file("mixed")).graph.initializer}
    narrow = [values for name, values in weights.items() if name.startswith("layer3.") and name.endswith("weight.q")]
    assert len(narrow) == 6
    assert all(np.unique(values).size <= 16 for values in narrow)
    # The file that says the same gives the same network.
    _quantize(shared, "again", "--placement", "ascend", "--calib-images", 100, "--config", "mixed/config.json")
    assert _file("again").read_bytes() == _file("mixed").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["conv1=5"], "8, 7, 6, 4, 3, 2"),
        (["conv1"], "PATTERN=BITS"),
        (["=8"], "PATTERN=BITS"),
        (["conv1=eight"], "PATTERN=BITS"),
        (["lefft*=8"], "matches no layer"),
    ],
)
def test_a_width_that_is_none(shared: Shared, options: list[str], message: str) -> None:
    refused = ptq(shared.network("resnet20"), "--layer-bits", *options, code=2)
    assert message in refused.stderr


def test_widths_can_differ_by_layer(shared: Shared, own: Own) -> None:
    config = json.loads(own.config.read_text())
    for name, layer in config.items():
        if isinstance(layer, dict) and name != "conv1":
            layer["weight_quant_params"]["num_bits"] = 4
    Path("config.json").write_text(json.dumps(config))
    data = _quantize(shared, "mixed", "--config", "config.json", "--weight-storage", "int4")
    assert [layer["weight_bits"] for layer in data["quantization"]["layers"]] == [8] + [4] * 19
    assert _weight_types("mixed") == {INT4, INT8}


def test_the_rule_that_is_asked_for_is_taken(shared: Shared) -> None:
    data = _quantize(shared, "amct", "--arq-rule", "amct")
    assert data["quantization"]["arq_rule"] == "amct"
    narrow = _quantize(shared, "none", "--arq-rule", "amct", "--weight-bits", 4, "--dry-run")
    assert {layer["weight_algo"] for layer in narrow["layers"]} == {"arq"}


@pytest.mark.parametrize("isa", ["vnni", "avx2"])
def test_a_run_takes_its_own_record(shared: Shared, isa: str) -> None:
    """Whatever rule the CPU's instructions needed."""
    _quantize(shared, "plain", "--isa", isa, "--calib-images", 16)
    record = "plain/calibration_record.txt"
    again = _quantize(shared, "again", "--record", record)
    assert again["quantization"]["from"] == "record"


def test_the_preview_says_width_and_algorithm(shared: Shared) -> None:
    data = _quantize(shared, "none", "--weight-bits", 6, "--weight-algo", "mse", "--dry-run")
    assert {(layer["weight_bits"], layer["weight_algo"]) for layer in data["layers"]} == {(6, "mse")}
    assert not Path("none").exists()


def test_weights_make_up_for_each_others_errors(shared: Shared) -> None:
    few = ("--calib-images", 64, "--eval-images", 1000, "--placement", "ascend")
    found = {}
    for name, options in {
        "rounded": ("--weight-bits", 4, "--weight-algo", "arq", "--no-bias-correction"),
        "without images": ("--weight-bits", 4, "--weight-algo", "squant", "--no-bias-correction"),
        "gptq": ("--weight-bits", 4),
        "by config": ("--config", "gptq/config.json"),
    }.items():
        found[name] = ptq(shared.network("resnet20"), *few, "--output-dir", name, *options).data
    drops = {name: data["accuracy"]["top1_drop"] for name, data in found.items()}
    assert drops["gptq"] < 0.5 * drops["rounded"]
    assert drops["without images"] < drops["rounded"]
    assert {layer["weight_algo"] for layer in found["gptq"]["quantization"]["layers"]} == {"gptq"}
    assert _file("gptq").read_bytes() == _file("by config").read_bytes()


@pytest.mark.parametrize("placement", ["ort", "ascend"])
def test_layers_make_up_for_the_layers_before_them(placement: str, shared: Shared) -> None:
    few = ("--calib-images", 64, "--eval-images", 1000, "--placement", placement)
    found = {}
    for name, options in {
        "gptq": ("--weight-bits", 2),
        "gptaq": ("--weight-bits", 2, "--weight-algo", "gptaq"),
        "by config": ("--config", "gptaq/config.json"),
    }.items():
        found[name] = ptq(shared.network("resnet20"), *few, "--output-dir", name, *options).data
    drops = {name: data["accuracy"]["top1_drop"] for name, data in found.items()}
    assert drops["gptaq"] < 0.7 * drops["gptq"]
    assert {layer["weight_algo"] for layer in found["gptaq"]["quantization"]["layers"]} == {"gptaq"}
    assert _file("gptaq").read_bytes() == _file("by config").read_bytes()


@pytest.mark.parametrize("measuring", [("--analyze",), ("--auto", "--max-drop", 1)])
def test_layers_that_make_up_for_others_are_not_measured_alone(
    measuring: tuple[object, ...], shared: Shared, own: Own
) -> None:
    config = json.loads(own.config.read_text())
    for layer in config.values():
        if isinstance(layer, dict):
            layer["weight_quant_params"] = {"wts_algo": "gptaq_quantize", "num_bits": 4}
    Path("gptaq.json").write_text(json.dumps(config))
    for said in (("--config", "gptaq.json"), ("--weight-algo", "gptaq")):
        refused = ptq(shared.network("resnet20"), *said, *measuring, "--output-dir", "out", code=2)
        assert "gptaq rounds a layer for those before it" in refused.stderr
        assert not Path("out").exists()


def test_each_placement_and_width_takes_gptq(shared: Shared) -> None:
    deploy = ("--weight-bits", 4, "--export", "onnx,ascend")
    for name, options in {"deploy": deploy, "eight": ("--weight-algo", "gptq")}.items():
        data = _quantize(shared, name, *options)
        assert all(check["passed"] for check in data["checks"])
    biases = [item.name for item in onnx.load(_file("deploy")).graph.initializer if item.name.endswith("bias.q")]
    assert len(biases) == 20


@pytest.mark.parametrize("placement", ["ort", pytest.param("ascend", marks=pytest.mark.slow)])
def test_ada_quantize_gives_the_file_of_gptq(placement: str, shared: Shared, own: Own) -> None:
    config = json.loads(own.config.read_text())
    parameters = {"num_iteration": 300, "reg_param": 0.01, "beta_range": [20, 2], "warm_start": 0.2}
    for name, said in {"ada_quantize": parameters, "gptq_quantize": {}}.items():
        for layer in config.values():
            if isinstance(layer, dict):
                layer["weight_quant_params"] = {"wts_algo": name, "num_bits": 8, **said}
        Path(f"{name}.json").write_text(json.dumps(config))
        data = _quantize(shared, name, "--config", f"{name}.json", "--placement", placement, "--calib-images", 32)
        assert {layer["weight_algo"] for layer in data["quantization"]["layers"]} == {"gptq"}
        warned = [text for text in data["warnings"] if "ada_quantize of all 20 layers is answered by GPTQ" in text]
        assert len(warned) == (name == "ada_quantize")
    for file in ("resnet20_quant.onnx", "config.json"):
        assert (Path("ada_quantize") / file).read_bytes() == (Path("gptq_quantize") / file).read_bytes()


def test_equalized_layers_are_listed_and_leave_no_record(shared: Shared) -> None:
    data = _quantize(shared, "equal", "--equalize", "--weight-bits", 3)
    assert all(check["passed"] for check in data["checks"])
    pairs = data["quantization"]["equalized"]
    assert pairs
    assert all(pair["predicted_error"] < 1 and pair["factor_min"] < pair["factor_max"] for pair in pairs)
    assert not Path("equal/calibration_record.txt").exists()
    assert any("no calibration_record.txt is written: --equalize" in warning for warning in data["warnings"])
    assert {layer["weight_bits"] for layer in data["quantization"]["layers"]} == {3}


def test_two_bits_are_stored_in_four_and_have_no_record(shared: Shared) -> None:
    data = _quantize(shared, "two", "--weight-bits", 2, "--weight-storage", "int4", "--allow-poor-float")
    assert any("cannot hold weights of 2 bits" in warning for warning in data["warnings"])
    assert not Path("two/calibration_record.txt").exists()
    stored = [item for item in onnx.load(_file("two")).graph.initializer if item.data_type == INT4]
    Path("two.cfg").write_text("common_config { arq_quantize { quant_bits: 2 } }")
    by_file = _quantize(shared, "by-file", "--config", "two.cfg", "--dry-run")
    assert any("cannot hold weights of 2 bits" in warning for warning in by_file["warnings"])
    assert not any("calibration_record" in name for name in by_file["files"])
    integers = [onnx.numpy_helper.to_array(item).astype(int) for item in stored]
    assert len(integers) == 20
    assert {int(value) for array in integers for value in array.flat} == {-2, -1, 0, 1}
