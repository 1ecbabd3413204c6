"""``--model net.onnx`` and ``--model net.mindir``: the file is the network, with its weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.command import Shared, amctq_here
from tests.graph.foreign.networks import attention, initializer, model
from tests.runs import Runs, ptq

# Writes the network of tests/cli as files: MindIR for one image and for any number, and what amctq reads as ONNX.
WRITE = """
import sys
from pathlib import Path
import numpy as np
from amctq.choices import Device
from amctq.data.inputs import IMAGE, InputSpec
from amctq.runtime import load_mindspore, prepare_environment, resolve_device
folder, checkpoint = map(Path, sys.argv[1:])
device = resolve_device(Device.CPU, None)
prepare_environment(device)
mindspore = load_mindspore(device, folder)
from amctq.networks.float_onnx import export_float
from amctq.networks.mindir import export_plain
from amctq.networks.registry import find_model
cell = find_model("resnet20").build(10)
mindspore.load_checkpoint(str(checkpoint), cell)
inputs = {IMAGE: InputSpec(shape=(3, 32, 32))}
for name, batch in (("one", 1), ("dynamic", None)):
    export_plain(cell, inputs, folder / f"{name}.mindir", batch=batch)
model = export_float(cell, inputs, folder / "scratch.mindir").model
for name, batch in (("any", None), ("two", 2)):
    if batch is not None:
        for item in (*model.graph.input, *model.graph.output):
            item.type.tensor_type.shape.dim[0].dim_value = batch
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
"""
MEAN_AND_STD = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")  # of the built-in resnet20
FEW = ("--calib-images", 8, "--eval-images", 0)


def _integers(path: str | Path) -> dict[str, NDArray[np.generic]]:
    """The integers of a file, by their sizes and content."""
    arrays = (numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer)
    return {
        f"{array.dtype} {array.shape} {array.tobytes().hex()}": array for array in arrays if array.dtype.kind in "iu"
    }


@pytest.fixture
def files(shared: Shared, runs: Runs) -> Path:
    """The trained resnet20 as files."""

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, "-c", WRITE, folder, shared.checkpoint("resnet20")], check=True)

    return runs.made("model-files", make)


def test_files_give_the_integers_of_the_checkpoint(shared: Shared, files: Path) -> None:
    ptq(shared.network("resnet20"), *FEW, "--output-dir", "own")
    expected = _integers("own/resnet20_quant.onnx")
    record = Path("own/calibration_record.txt").read_text()
    for name in ("one.mindir", "dynamic.mindir", "any.onnx", "two.onnx"):
        data = ptq(("--model", files / name, "--dataset", shared.data), *MEAN_AND_STD, *FEW, "--output-dir", name).data
        stem = Path(name).stem
        assert _integers(f"{name}/{stem}_quant.onnx").keys() == expected.keys()
        assert Path(name, "calibration_record.txt").read_text() == record
        assert data["model"]["name"] == stem
        assert list(data["model"]["inputs"]) == ["x" if name.endswith(".mindir") else "image"]
        assert data["model"]["num_classes"] == 10
        assert data["model"]["checkpoint"] == str(files / name)
        assert data["simulation"]["through"] == "float arithmetic"
        runtime = "onnxruntime" if name.endswith(".onnx") else "MindSpore"
        assert data["checks"][0]["name"] == f"float graph equals {runtime}"


def test_deploy_files_and_four_bits_come_from_a_file_too(shared: Shared, files: Path) -> None:
    network = ("--model", files / "any.onnx", "--dataset", shared.data)
    data = ptq(network, *MEAN_AND_STD, *FEW, "--export", "onnx,ascend", "--weight-bits", 4).data
    assert data["files"].keys() == {"onnx", "ascend"}
    assert all(check["passed"] for check in data["checks"])


def test_preprocessing_that_was_assumed_is_said(shared: Shared, files: Path) -> None:
    done = amctq_here("ptq", "--model", files / "any.onnx", "--dataset", shared.data, "--dry-run")
    assert done.code == 0, done.stderr
    assert "any.onnx does not say how its images are prepared: taken are mean" in done.stderr


@pytest.fixture
def tokens() -> Path:
    """A layer of a ViT for one sample, and samples for it."""
    Path("vit.onnx").write_bytes(attention(1).SerializeToString())
    Path("data.py").write_text(
        "import numpy as np\n"
        "def samples(role):\n"
        "    draw = np.random.default_rng(len(role))\n"
        "    return [(draw.normal(size=(5, 12)).astype(np.float32), None) for _ in range(40)]\n"
        "def named(role):\n"
        "    return [({'x': array}, None) for array, _ in samples(role)]\n"
        "def misnamed(role):\n"
        "    return [({'token': array}, None) for array, _ in samples(role)]\n"
    )
    return Path("vit.onnx")


def test_a_file_for_one_sample_takes_batches(tokens: Path) -> None:
    for dataset in ("samples", "named"):
        data = ptq(("--model", tokens, "--dataset", f"data.py:{dataset}"), "--input", "x:5x12", "--force").data
        (output,) = data["fidelity"]["outputs"]
        assert output["output"] == "y"
        assert output["sqnr_db"] > 20
    (sizes,) = [
        [axis.dim_param or axis.dim_value for axis in item.type.tensor_type.shape.dim]
        for item in onnx.load("results/vit_quant.onnx").graph.input
    ]
    assert sizes == ["N", 5, 12]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--ckpt", "x.ckpt"), 2, "--ckpt x.ckpt and --model vit.onnx: the file has its own"),
        (("--num-classes", "4"), 2, "--num-classes 4 and --model vit.onnx"),
        (("--export", "mindir"), 2, "--export mindir needs MindSpore's cells, and a file has none"),
        (("--backend", "amct"), 2, "only networks of MindSpore's cells"),
        (("--model", "none.onnx"), 3, "none.onnx: no such file"),
        (("--model", "."), 2, "not a model that amctq knows"),
        (("--input", "y:5x12"), 2, "--input y: vit.onnx takes x"),
        (("--input", "x:5x13"), 2, "--input x: expected [5, 13], and the samples are float32 (N, 5, 12)"),
        (("--input", "x:5,x"), 2, "'x:5,x' is not NAME:SHAPE"),
        (("--input", "x:0"), 2, "'x:0' is not NAME:SHAPE"),
        (("--dataset", "data.py:misnamed"), 3, "vit.onnx takes x, and the dataset gives token"),
        (("--model", "resnet20"), 2, "--model resnet20 needs its weights"),
    ],
)
def test_contradictions_are_refused(tokens: Path, options: tuple[str, ...], code: int, says: str) -> None:
    given = {"--model": str(tokens), "--dataset": "data.py:samples"} | {options[0]: options[1]}
    done = amctq_here("ptq", "--dry-run", "--json", *(word for pair in given.items() for word in pair))
    assert done.code == code, done.stderr
    (error,) = json.loads(done.stdout)["errors"]
    assert says in error["message"]
    assert error["hint"]


def test_two_shapes_for_one_input_are_refused(tokens: Path) -> None:
    arguments = ("ptq", "--model", tokens, "--dataset", "data.py:samples", "--dry-run", "--input", "x:5x12")
    done = amctq_here(*arguments, "--input", "x:6x12")
    assert done.code == 2
    assert "--input x was given twice, as 5x12 and 6x12" in done.stderr
    done = amctq_here(*arguments, "--input", "x:5x12")
    assert done.code == 0, done.stderr


def test_a_refusal_names_the_file_once(tokens: Path) -> None:
    proto = onnx.load(tokens)
    proto.opset_import[0].version = 6
    tokens.write_bytes(proto.SerializeToString())
    done = amctq_here("ptq", "--model", tokens, "--dataset", "data.py:samples")
    assert done.code == 3
    assert done.stderr.splitlines()[-2] == "error: vit.onnx: it has opset 6, expected 7 to 23"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("qat", "--model vit.onnx: qat needs MindSpore's cells, and a file has none"),
        ("launch-distributed", "--model vit.onnx: qat needs MindSpore's cells, and a file has none"),
        ("evaluate", "--model vit.onnx is a file: --onnx or --mindir measures it"),
    ],
)
def test_no_weights_are_asked_for_where_a_file_cannot_be_used(command: str, says: str, tokens: Path) -> None:
    done = amctq_here(command, "--model", tokens, "--dataset", "data.py:samples")
    assert done.code == 2
    assert says in done.stderr


def test_what_needs_cells_is_refused(tokens: Path) -> None:
    for command, more in (
        ("qat", ("--ckpt", "x.ckpt", "--dataset", "data.py:samples")),
        ("evaluate", ("--onnx", tokens, "--dataset", "data.py:samples")),
    ):
        done = amctq_here(command, "--model", tokens, *more)
        assert done.code == 2, done.stderr
        assert "file" in done.stderr
    done = amctq_here("convert-checkpoint", "in.ckpt", "out.ckpt", "--model", tokens)
    assert done.code == 2
    assert "convert-checkpoint needs MindSpore's cells" in done.stderr


def test_a_size_of_images_that_nothing_says_is_asked_for(shared: Shared) -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["a"]),
        onnx.helper.make_node("ReduceMean", ["a"], ["y"], axes=[2, 3], keepdims=0),
    ]
    weight = initializer("w", np.random.default_rng(1).normal(size=(10, 3, 3, 3)))
    Path("any.onnx").write_bytes(model(nodes, [weight], shape=["N", 3, "h", "w"]).SerializeToString())
    arguments = ("ptq", "--model", "any.onnx", "--dataset", shared.data, "--dry-run")
    done = amctq_here(*arguments)
    assert done.code == 2
    assert "any.onnx takes images of any size" in done.stderr
    for option in (("--image-size", 24), ("--input", "x:3x24x24")):
        done = amctq_here(*arguments, *option)
        assert done.code == 0, done.stderr


def test_operators_of_classical_models_pass_on_and_one_column_is_no_classifier() -> None:
    """As scikit-learn's converter writes them: labels by ArrayFeatureExtractor, a regression of whole numbers."""
    draw = np.random.default_rng(2)
    weights = [initializer("w", draw.normal(size=(6, 5))), initializer("v", draw.normal(size=(5, 1)))]
    labels = initializer("labels", np.arange(10, 15))
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["scores"]),
        onnx.helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        onnx.helper.make_node("ArrayFeatureExtractor", ["labels", "best"], ["row"], domain="ai.onnx.ml"),
        onnx.helper.make_node("Reshape", ["row", "column"], ["label"]),
        onnx.helper.make_node("MatMul", ["scores", "v"], ["y"]),
    ]
    column = initializer("column", np.array([-1]))
    proto = model(nodes, [*weights, labels, column], shape=["N", 6], outputs=["label", "y"], domains=["ai.onnx.ml"])
    proto.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    Path("both.onnx").write_bytes(proto.SerializeToString())
    only = model([nodes[0], nodes[4]], weights, shape=["N", 6])
    Path("value.onnx").write_bytes(only.SerializeToString())
    Path("data.py").write_text(
        "import numpy as np\n"
        "def samples(role):\n"
        "    draw = np.random.default_rng(len(role))\n"
        "    return [(draw.normal(size=6).astype(np.float32), int(draw.integers(5))) for _ in range(60)]\n"
    )
    for name, outputs in (("both", ["label", "y"]), ("value", ["y"])):
        data = ptq(("--model", f"{name}.onnx", "--dataset", "data.py:samples"), "--force").data
        assert data["accuracy"] is None
        assert [item["output"] for item in data["fidelity"]["outputs"]] == outputs
    data = ptq(("--model", "value.onnx", "--dataset", "data.py:samples"), "--force", "--metric", "mae").data
    assert data["accuracy"]["metric"]["key"] == "mae"


@pytest.fixture
def determinants() -> Path:
    """A network with an operator that OpenVINO and TensorRT do not have: the determinant of 2 x 2 positions."""
    random = np.random.default_rng(3)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("AveragePool", ["a"], ["b"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Det", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "v"], ["y"], transB=1),
    ]
    weights = [
        initializer("w", random.normal(size=(12, 3, 1, 1))),
        initializer("v", random.normal(size=(10, 12))),
    ]
    path = Path("determinants.onnx")
    onnx.save(model(nodes, weights, shape=[None, 3, 32, 32]), path)
    return path


def test_what_openvino_cannot_read_is_refused_before_work(shared: Shared, determinants: Path) -> None:
    words = ("--dataset", shared.data, "--model", determinants, "--target", "openvino", *FEW, "--allow-poor-float")
    done = amctq_here("ptq", *words, "--json")
    assert done.code == 3
    (error,) = done.envelope["errors"]
    assert "No conversion rule found for operations: Det" in error["message"]
    assert "determinants.onnx" in error["message"]
    assert not Path("results").exists()


def test_what_tensorrt_reads_with_a_plugin_only_is_told(shared: Shared, determinants: Path) -> None:
    words = ("--dataset", shared.data, "--model", determinants, "--target", "tensorrt", *FEW, "--allow-poor-float")
    done = amctq_here("ptq", *words, "--json")
    assert done.code == 0, done.stderr
    assert any("Det" in text and "plugin" in text for text in done.data["warnings"])


@pytest.mark.parametrize("target", ["tensorrt", "ascend"])
def test_a_file_of_an_opset_that_the_target_does_not_read_is_refused(target: str, shared: Shared, files: Path) -> None:
    network = onnx.load(files / "any.onnx")
    network = onnx.version_converter.convert_version(network, 23)
    onnx.save(network, "new.onnx")
    words = ("--dataset", shared.data, "--model", "new.onnx", "--target", target, *FEW, *MEAN_AND_STD)
    done = amctq_here("ptq", *words, "--json")
    assert done.code == 3
    assert f"--target {target} reads opset" in done.envelope["errors"][0]["message"]
    assert not Path("results").exists()
