"""Float ONNX of other producers: what is read, what is left out, and what is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from amctq.data.inputs import InputSpec
from amctq.errors import AmctqError, InputError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.foreign.reader import fit_samples, open_foreign, read_foreign
from amctq.graph.topology import read_topology
from amctq.networks.onnx_model import OnnxModel
from tests.byte_mutations import byte_mutations
from tests.graph.foreign.networks import attention, initializer, model, run
from tests.mutations import mutation_count

DRAW = np.random.default_rng(5)
SAMPLES = DRAW.normal(size=(3, 3, 6, 6)).astype(np.float32)
MUTATIONS = mutation_count(150)


def read(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that amctq reads."""
    return read_foreign(open_foreign(proto))


def _convolution(opset: int = 17, **more: Any) -> onnx.ModelProto:
    """Conv, BatchNorm, Relu, mean, Gemm, with a Dropout and an Identity that pass on."""
    weights = {
        "onnx::Conv_12": DRAW.normal(size=(4, 3, 3, 3)),
        "gamma": DRAW.uniform(0.5, 1, 4),
        "beta": DRAW.normal(size=4),
        "mean": DRAW.normal(size=4),
        "variance": DRAW.uniform(0.5, 1, 4),
        "fc.weight": DRAW.normal(size=(5, 4)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "onnx::Conv_12"], ["a"], name="/layer1/layer1.0/conv1/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Identity", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Dropout", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "fc.weight", "bias"], ["y"], transB=1),
    ]
    bias = helper.make_node("Constant", [], ["bias"], value=initializer("", DRAW.normal(size=5)))
    constants = [initializer(name, array) for name, array in weights.items()]
    given: dict[str, Any] = {"shape": ["N", 3, 6, 6], "opset": opset} | more
    return model([bias, *nodes], constants, **given)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 16, 17, 18, 21, 23])
def test_every_opset_computes_the_same(opset: int) -> None:
    proto = _convolution(opset)
    found = read(proto)
    assert run(found, SAMPLES)[0] == pytest.approx(run(proto, SAMPLES)[0], rel=1e-5, abs=1e-6)
    assert found.opset_import[0].version == max(opset, 17)
    assert [node.op_type for node in found.graph.node] == [
        *("Conv", "BatchNormalization", "Relu", "GlobalAveragePool", "Flatten", "Gemm")
    ]
    layers = read_topology(FloatGraph(model=found, file_bytes=0)).layers
    assert [(layer.name, layer.batch_norm is not None) for layer in layers] == [("layer1.0.conv1", True), ("fc", False)]


def test_constants_of_old_files_are_no_inputs() -> None:
    proto = _convolution(9)
    for item in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(item.name, item.data_type, list(item.dims)))
    assert [item.name for item in read(proto).graph.input] == ["x"]


def test_axes_called_minus_one_are_dynamic() -> None:
    proto = _convolution(shape=["N", 3, None, None])
    for axis in (0, 2):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = -1
    found = read(proto)
    fit_samples(found, {"x": InputSpec(shape=(3, 6, 6))})
    assert FloatGraph(model=found, file_bytes=0).inputs == {"x": InputSpec(shape=(3, 6, 6))}
    assert run(found, SAMPLES)[0] == pytest.approx(run(proto, SAMPLES)[0], rel=1e-5, abs=1e-6)


def test_functions_are_written_out() -> None:
    double = helper.make_function(
        "mine", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)]
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Double", ["m"], ["y"], domain="mine")]
    proto = model(nodes, [initializer("w", np.ones((2, 2)))], shape=["N", 2], domains=["mine"])
    proto.functions.append(double)
    found = read(proto)
    assert [node.op_type for node in found.graph.node] == ["MatMul", "Add"]


def test_nodes_of_one_name_or_none_get_their_own() -> None:
    nodes = [
        helper.make_node("Relu", [one], [other], name=name)
        for one, other, name in [("x", "a", "same"), ("a", "b", "same"), ("b", "c", ""), ("c", "y", "c")]
    ]
    assert [node.name for node in read(model(nodes, [], shape=["N", 2])).graph.node] == [
        *("same", "same:2", "c", "c:2")
    ]


def _nodes(*nodes: onnx.NodeProto, **more: Any) -> onnx.ModelProto:
    given: dict[str, Any] = {"shape": ["N", 2]} | more
    return model(nodes, [initializer("w", np.ones((2, 2)))], **given)


_BRANCH = helper.make_graph([], "branch", [], [])


@pytest.mark.parametrize(
    ("proto", "says"),
    [
        (_nodes(helper.make_node("Relu", ["x"], ["y"]), opset=6), "opset 6, expected 7 to 23"),
        (
            _nodes(helper.make_node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft"), domains=["com.microsoft"]),
            "not ONNX's own: com.microsoft.FusedConv",
        ),
        (_nodes(helper.make_node("Own", ["x"], ["y"], domain="me"), domains=["me"]), "not ONNX's own: me.Own"),
        (_nodes(helper.make_node("QuantizeLinear", ["x", "w"], ["y"])), "quantized already: QuantizeLinear"),
        (_nodes(helper.make_node("QLinearMatMul", ["x", "w"], ["y"])), "quantized already: QLinearMatMul"),
        (_nodes(helper.make_node("MatMulInteger", ["x", "w"], ["y"])), "quantized already: MatMulInteger"),
        (
            _nodes(helper.make_node("If", ["x"], ["y"], then_branch=_BRANCH, else_branch=_BRANCH)),
            "control flow depends on data: If",
        ),
        (_nodes(helper.make_node("Loop", ["x"], ["y"], body=_BRANCH)), "control flow depends on data: Loop"),
        (_nodes(helper.make_node("RandomNormalLike", ["x"], ["y"])), "random numbers: RandomNormalLike"),
        (
            _nodes(
                helper.make_node("Constant", [], ["training"], value=initializer("", np.array(True))),
                helper.make_node("Dropout", ["x", "", "training"], ["y"]),
            ),
            "random numbers: Dropout",
        ),
        (
            model(
                [helper.make_node("MatMul", ["x", "w"], ["y"])],
                [initializer("w", np.ones((2, 2), np.float64)), onnx.numpy_helper.from_array(np.ones(1), "w2")],
                shape=["N", 2],
            ),
            None,
        ),
        (
            model(
                [helper.make_node("MatMul", ["x", "w"], ["y"], name="head")],
                [onnx.numpy_helper.from_array(np.ones((2, 2), np.float16), "w")],
                shape=["N", 2],
                kind=TensorProto.FLOAT16,
            ),
            "the weights of head are FLOAT16, expected FLOAT",
        ),
    ],
)
def test_what_cannot_be_read_is_named(proto: onnx.ModelProto, says: str | None) -> None:
    if says is None:
        read(proto)
        return
    with pytest.raises(InputError, match=says.replace(".", r"\.")) as raised:
        read(proto)
    assert raised.value.hint


@pytest.mark.parametrize(
    "spec", [InputSpec(shape=(3, 6)), InputSpec(shape=(1, 6, 6)), InputSpec(shape=(3, 6, 6), dtype="int32")]
)
def test_samples_that_do_not_fit_are_refused(spec: InputSpec) -> None:
    found = read(_convolution(shape=["N", 3, "h", "w"]))
    with pytest.raises(InputError, match="its input x is float32"):
        fit_samples(found, {"x": spec})


@pytest.mark.parametrize("name", ["convolution", "attention"])
def test_damaged_files_are_refused_or_read(name: str, tmp_path: Path) -> None:
    """In a process of its own, because what onnx makes of such a file may end it."""
    proto = _convolution() if name == "convolution" else attention(1)
    (tmp_path / "whole.onnx").write_bytes(proto.SerializeToString())
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import read_all; read_all({str(tmp_path)!r}, {name!r})"],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > MUTATIONS // 30  # some damage is in the values of weights


def read_all(folder: str, name: str) -> None:
    """Read damaged copies of ``whole.onnx``, and print how many could be read."""
    path, taken = Path(folder) / "damaged.onnx", 0
    given = {"0": InputSpec(shape=(3, 6, 6) if name == "convolution" else (5, 12))}
    for content in byte_mutations((Path(folder) / "whole.onnx").read_bytes(), seed=len(name), number=MUTATIONS):
        path.write_bytes(content)
        try:
            network = OnnxModel(path).network(given, Path(folder))
            read_topology(network.graph)
            taken += 1
        except AmctqError as error:
            if not error.hint:
                raise
    sys.stdout.write(f"{taken}\n")
