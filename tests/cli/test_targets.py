"""``--target``: what a file is for, in whole runs."""

from __future__ import annotations

import configparser
import itertools
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from amctq.choices import Target
from amctq.inference.openvino_operators import float_operators
from amctq.inference.openvino_session import OpenVinoSession
from amctq.runtime import cpu_instructions, saturates
from tests import strict_tensorrt
from tests.command import Own, Shared, amctq, amctq_here, without
from tests.runs import ptq

FEW = ("--calib-images", 16, "--allow-poor-float")
NETWORKS = ("small", "reused", "two_heads")


@pytest.mark.parametrize("model", ["resnet20", "resnet56"])
def test_tensorrt_takes_every_layer_and_accuracy_stays(model: str, shared: Shared) -> None:
    done = ptq(shared.network(model), "--target", "tensorrt", "--eval-images", 1000, "--calib-images", 64)
    proto = onnx.load(f"results/{model}_quant.onnx")
    layers = done.data["quantization"]["layers"]
    assert len(strict_tensorrt.read(proto)) == len(layers) == {"resnet20": 20, "resnet56": 56}[model]
    sums = [node for node in proto.graph.node if node.op_type == "Add"]
    makers = {name: node.op_type for node in proto.graph.node for name in node.output}
    assert all(makers[name] == "DequantizeLinear" for node in sums for name in node.input)
    assert done.data["accuracy"]["top1_drop"] < 1.5
    assert all(check["passed"] for check in done.data["checks"])


@pytest.mark.parametrize("factory", NETWORKS)
def test_tensorrt_takes_networks_of_ones_own(factory: str, own: Own) -> None:
    done = ptq(own.network(factory), *FEW, "--target", "tensorrt")
    proto = onnx.load(f"results/{factory}_quant.onnx")
    assert len(strict_tensorrt.read(proto)) >= len(done.data["quantization"]["layers"])


@pytest.mark.parametrize("factory", NETWORKS)
def test_openvino_computes_every_layer_in_integers(factory: str, own: Own) -> None:
    done = ptq(own.network(factory), *FEW, "--target", "openvino")
    session = OpenVinoSession(Path(f"results/{factory}_quant.onnx").read_bytes())
    kinds = [
        (info["layerType"].astype(str), info["primitiveType"].astype(str))
        for info in (node.get_rt_info() for node in session.compiled.get_runtime_model().get_ordered_ops())
    ]
    weighted = [kernel for kind, kernel in kinds if kind in {"Convolution", "FullyConnected", "MatMul"}]
    # A product of two matrices too small for a kernel of its own stays as it is.
    assert len(weighted) == len(done.data["quantization"]["layers"])
    assert all(kernel.lower().endswith("_i8") for kernel in weighted), weighted
    assert done.data["quantization"]["float_operators"] == [vars(item) for item in float_operators(session, {}, {})]


def test_openvino_measures_what_the_file_says(shared: Shared) -> None:
    """The same integers in both runtimes: without VNNI the weights have 7 bits, which add up exactly."""
    done = ptq(shared.network("resnet20"), "--target", "openvino", "--eval-images", 500, "--calib-images", 32)
    file = Path("results/resnet20_quant.onnx")
    one, other = (
        amctq_here(*("evaluate", "--dataset", shared.data, "--onnx", file, "--eval-images", 500, "--json"), *more).data
        for more in (("--runtime", "openvino"), ())
    )
    assert done.data["accuracy"]["int8"]["top1"] == one["accuracy"]["top1"]
    assert one["accuracy"]["top1"] == pytest.approx(other["accuracy"]["top1"], abs=0.6)
    assert done.data["timing"]["images_per_second"]["ratio"] > 0
    assert all(check["passed"] for check in done.data["checks"])


def test_onnxruntime_is_the_default(shared: Shared) -> None:
    short = ("--calib-images", 4, "--eval-images", 0, "--output-dir")
    ptq(shared.network("resnet20"), *short, "one")
    ptq(shared.network("resnet20"), *short, "other", "--target", "ONNXRuntime")
    one, other = (Path(name, "resnet20_quant.onnx").read_bytes() for name in ("one", "other"))
    assert one == other


CONTRADICTIONS = [
    ("openvino", "--placement", "ascend"),
    ("openvino", "--export", "mindir"),
    ("openvino", "--record", "calibration_record.txt"),
    ("openvino", "--act-type", "int8"),
    ("tensorrt", "--act-type", "uint8"),
    ("tensorrt", "--weight-storage", "int4", "--weight-bits", "4"),
    ("tensorrt", "--isa", "vnni"),
    ("tensorrt", "--placement", "ascend"),
    ("tensorrt", "--export", "onnx,ascend"),
    ("tensorrt", "--record", "calibration_record.txt"),
    ("ascend", "--placement", "ort"),
    ("ascend", "--weight-bits", "3"),
    ("ascend", "--layer-bits", "conv1=2"),
    ("tensorrt", "--backend", "amct"),
    ("mslite", "--weight-bits", "4"),
    ("mslite", "--config", "config.json"),
    ("mslite", "--weight-algo", "gptq"),
    ("mslite", "--export", "onnx"),
    ("mslite", "--auto", "--max-drop", "1"),
    ("mslite", "--analyze", "--tuning-images", "4"),
    ("onnxruntime", "--export", "mslite"),
    ("ascend", "--export", "ascend,mslite"),
    ("ascend", "--isa", "amx"),
    ("ascend", "--weight-storage", "int4", "--weight-bits", "4"),
]


@pytest.mark.parametrize("words", CONTRADICTIONS, ids=" ".join)
def test_an_option_that_contradicts_the_target_is_refused(words: tuple[str, ...], shared: Shared) -> None:
    target, option, value, *more = words
    for name in ("calibration_record.txt", "config.json"):
        Path(name).write_text("")
    done = amctq_here("ptq", *shared.network("resnet20"), "--target", target, option, value, *more, "--json")
    assert done.code == 2
    message = done.envelope["errors"][0]["message"]
    assert f"--target {target}" in message
    assert option in message
    assert not Path("results").exists()


@pytest.mark.parametrize("more", [("--act-algo", "mse"), ("--weight-bits", "4"), ("--equalize",), ()], ids=" ".join)
def test_files_for_mindspore_lite_are_those_of_its_target(more: tuple[str, ...], shared: Shared) -> None:
    """Its converter would take none of these options, and the report would tell the accuracy of another network."""
    done = amctq_here("ptq", *shared.network("resnet20"), "--export", "mslite", *more, "--json")
    assert done.code == 2
    assert "--target mslite" in done.envelope["errors"][0]["message"]


@pytest.mark.parametrize("target", ["tensorrt", "mslite"])
def test_qat_says_what_it_cannot_train_for(target: str, shared: Shared) -> None:
    done = amctq_here("qat", *shared.network("resnet20"), "--target", target, "--json")
    assert done.code == 2
    assert f"--target {target}" in done.envelope["errors"][0]["message"]


def test_a_configuration_with_zero_points_contradicts_tensorrt(shared: Shared, own: Own) -> None:
    done = amctq_here("ptq", *shared.network("resnet20"), "--target", "tensorrt", "--config", own.config, "--json")
    assert done.code == 2
    message = done.envelope["errors"][0]["message"]
    assert all(word in message for word in ("--target tensorrt", "--config", "conv1"))


def test_without_openvino_a_run_says_what_to_install(shared: Shared) -> None:
    done = amctq(*("ptq", *shared.network("resnet20"), "--target", "openvino"), env=without("openvino"))
    assert done.code == 4, done.stderr
    assert "pip install 'amctq[openvino]'" in done.stderr
    assert not Path("results").exists()


def test_an_openvino_that_cannot_be_loaded_is_said_before_work(shared: Shared) -> None:
    package = Path("broken", "openvino", "__init__.py")
    package.parent.mkdir(parents=True)
    package.write_text("raise ImportError('libopenvino.so: cannot open shared object file')\n")
    broken = {"PYTHONPATH": str(package.parents[1].absolute())}
    done = amctq(*("ptq", *shared.network("resnet20"), "--target", "openvino", "--json"), env=broken)
    assert done.code == 4, done.stderr
    (error,) = done.envelope["errors"]
    assert "libopenvino.so" in error["message"]
    assert "pip install 'amctq[openvino]'" in error["hint"]
    assert "calibration" not in done.stderr
    assert not Path("results").exists()
    found = amctq("doctor", "--json", env=broken).data["findings"]["openvino"]
    assert (found["ok"], "libopenvino.so" in found["value"]) == (False, True)


def test_every_target_is_in_the_table() -> None:
    from amctq.export.targets import TARGETS

    assert list(TARGETS) == list(Target)
    known = set(itertools.chain.from_iterable((*rules.wishes, *rules.refused) for rules in TARGETS.values()))
    from amctq.services.ptq.request import PtqRequest

    assert known <= set(PtqRequest.options())


def test_tensorrt_gets_the_exact_command(shared: Shared) -> None:
    done = ptq(shared.network("resnet20"), "--target", "tensorrt", "--eval-images", 0, "--calib-images", 4)
    deployment = done.data["deployment"]
    (entry,) = deployment["commands"]
    words = shlex.split(entry["command"])
    assert words[0] == "trtexec"
    assert "--onnx=resnet20_quant.onnx" in words
    assert "--optShapes=image:8x3x32x32" in words
    assert "never built by TensorRT" in deployment["not_run"]
    assert done.data["quantization"]["float_operators"] == []


def test_openvino_runs_the_command_that_it_gets(shared: Shared) -> None:
    done = ptq(shared.network("resnet20"), "--target", "openvino", "--eval-images", 0, "--calib-images", 4)
    (entry,) = done.data["deployment"]["commands"]
    tool, *words = shlex.split(entry["command"])
    assert done.data["deployment"]["not_run"] is None
    assert "measured in openvino" in Path("results/report.html").read_text()
    process = subprocess.run(
        [Path(sys.executable).with_name(tool), *words, "-niter", "8"],
        cwd="results",
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    assert "Throughput" in process.stdout


def test_ascend_gets_what_converts_and_measures(shared: Shared) -> None:
    done = ptq(shared.network("resnet20"), "--target", "ascend", "--eval-images", 0, "--calib-images", 4)
    assert set(done.data["files"]) == {"onnx", "ascend"}
    assert done.data["quantization"]["placement"] == "ascend"
    text = " ".join(entry["command"] for entry in done.data["deployment"]["commands"])
    assert "convert_qat_model" in text
    assert "ais_bench" in text
    assert "atc" in done.data["atc"]["command"]
    checks = {check["name"]: check["passed"] for check in done.data["checks"]}
    assert checks["resnet20_quant.onnx fits amct_onnx.convert_qat_model"]


def test_mslite_gets_a_float_network_its_configuration_and_samples(shared: Shared) -> None:
    """The section names and keys are MindSpore Lite's; the network is still in float, and MindSpore runs it."""
    more = ("--target", "mslite", "--eval-images", 200, "--calib-images", 6, "--skip-layer", "conv1")
    done = ptq(shared.network("resnet20"), *more, "--act-algo", "entropy", "--no-bias-correction")
    config, for_npu = configparser.ConfigParser(), configparser.ConfigParser()
    config.read("results/resnet20_mslite.cfg")
    for_npu.read("results/resnet20_mslite_ascend.cfg")
    quantization = {"activation_quant_method": "KL", "bias_correction": "false", "per_channel": "true"}
    assert dict(config["full_quant_param"]) == quantization
    assert dict(for_npu["full_quant_param"]) == quantization | {"target_device": "ASCEND"}
    for section in ("common_quant_param", "data_preprocess_param"):
        assert for_npu[section] == config[section]
    assert config["common_quant_param"]["skip_quant_node"].endswith("Conv2D-op0")
    name, _, folder = config["data_preprocess_param"]["calibrate_path"].partition(":")
    files = sorted(Path("results", folder).iterdir())
    assert config["data_preprocess_param"]["calibrate_size"] == str(len(files)) == "6"
    assert all(file.stat().st_size == 4 * 3 * 32 * 32 for file in files)
    assert np.isfinite(np.fromfile(files[0], np.float32)).all()
    assert {Path(item["path"]).name for item in done.envelope["artifacts"]} >= {file.name for file in files}
    on_cpu, on_npu = (shlex.split(entry["command"]) for entry in done.data["deployment"]["commands"])
    shape = f"--inputShape={name}:1,3,32,32"
    assert {"--configFile=resnet20_mslite.cfg", shape} < set(on_cpu)
    assert {"--configFile=resnet20_mslite_ascend.cfg", shape, "--optimize=ascend_oriented"} < set(on_npu)
    for words in (on_cpu, on_npu):  # it writes .ms or .mindir, and must not write over what it reads
        given = dict(word.split("=", 1) for word in words[1:])
        assert f"{given['--outputFile']}.mindir" != given["--modelFile"] == "resnet20_mslite.mindir"
    assert {file.stat().st_mode & 0o777 for file in Path("results").iterdir() if file.is_file()} == {0o644}
    assert "not verified here" in done.data["deployment"]["not_run"]
    assert not Path("results/placement.json").exists()
    measured = amctq_here(
        *("evaluate", "--dataset", shared.data, "--mindir", "results/resnet20_mslite.mindir"),
        *("--eval-images", 20, "--batch-size", 20, "--json"),
    )
    assert measured.data["accuracy"]["top1"] >= 85
    again = amctq_here("ptq", *shared.network("resnet20"), *more, "--json")
    assert again.code == 2
    assert "already holds" in again.envelope["errors"][0]["message"]


def test_what_mslite_measures_is_what_its_configuration_says(shared: Shared) -> None:
    """Without --act-algo too; the plan names the files that there will be."""
    options = (*shared.network("resnet20"), "--target", "mslite", "--eval-images", 0, "--calib-images", 4)
    planned = amctq_here("ptq", *options, "--dry-run", "--json").data
    assert {layer["act_algo"] for layer in planned["layers"]} == {"minmax"}
    done = ptq(options)
    assert {layer["act_algo"] for layer in done.data["quantization"]["layers"]} == {"minmax"}
    assert "activation_quant_method=MAX_MIN" in Path("results/resnet20_mslite.cfg").read_text()
    few = (*shared.network("resnet20"), "--target", "mslite", "--eval-images", 0, "--calib-images", 3, "--force")
    for more in ((), ("--dry-run",)):  # the fourth sample would be the one of another run
        refused = amctq_here("ptq", *few, *more, "--json")
        assert refused.code == 2
        assert "results/resnet20_mslite_image holds 1 files more" in refused.envelope["errors"][0]["message"]
    written = {str(file) for file in Path("results").rglob("*") if file.is_file()}
    assert {str(file) for pattern in planned["files"] for file in Path().glob(pattern)} == written


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("ptq", ("--act-symmetric", "--calib-images", 32)),
        ("ptq", ("--weight-bits", "auto", "--max-size", 0.2, "--tuning-images", 32, "--calib-images", 32)),
        ("qat", ("--max-steps", 3, "--recipe", "finetune")),
    ],
    ids=["zero point in the middle", "widths of their own", "trained"],
)
def test_openvino_computes_what_was_meant_on_every_cpu(
    command: str, options: tuple[object, ...], shared: Shared
) -> None:
    """Without VNNI its sums of 8-bit products saturate, and amctq chooses weights for which they do not."""
    more = ("--target", "openvino", "--eval-images", 500, "--output-dir", "results")
    done = amctq(command, *shared.network("resnet20"), *options, *more, "--json")
    assert done.code == 0, done.stderr
    assert all(check["passed"] for check in done.data["checks"])
    assert done.data["accuracy"]["int8"]["top1"] > 88


def test_qat_refuses_what_openvino_would_not_compute_as_trained(shared: Shared) -> None:
    if not saturates(cpu_instructions()):
        pytest.skip("this CPU adds up products of 8 bits exactly")
    words = ("qat", *shared.network("resnet20"), "--target", "openvino", "--weight-bits", 8, "--dry-run", "--json")
    done = amctq_here(*words)
    assert done.code == 2
    (error,) = done.envelope["errors"]
    assert "--target openvino" in error["message"]
    assert "--weight-bits 7" in error["hint"]
