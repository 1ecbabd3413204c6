"""What amctq refuses in a network, and how long it takes to read a deep one."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, mint, nn, ops

from amctq.errors import InputError
from amctq.graph.mindir import reader
from amctq.graph.mindir.registry import PRIMITIVES
from tests.graph.mindir.compare import BATCH, Function, assert_same, exported, read

_TABLE = Tensor(np.random.default_rng(5).normal(0, 1, (BATCH, 1, 1)).astype(np.float32))


class Inside(nn.Cell):
    """A network whose cell ``block.part`` is a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.block = nn.Cell()
        self.block.part = Function(function)

    def construct(self, x: Any) -> Any:
        return self.block.part(x)


def refused(network: nn.Cell, *, outputs: int = 1) -> InputError:
    with pytest.raises(InputError) as caught:
        read(network, (4, 6), outputs=outputs)
    assert caught.value.hint
    return caught.value


def branches(x: Any) -> Any:
    if x.sum() > 0:
        return x * 2
    return x


def loops(x: Any) -> Any:
    while x.sum() < 100:
        x = x + 1
    return x


@pytest.mark.parametrize("function", [branches, loops])
def test_control_flow_on_tensors(function: Callable[[Any], Any]) -> None:
    assert "control flow" in refused(Function(function)).message


def unknown(x: Any) -> Any:
    return ops.cummax(x, 1)[0]


def test_an_unknown_primitive_is_named_with_its_cell() -> None:
    assert "the primitive Cummax (in block.part)" in refused(Inside(unknown)).message
    assert "the primitive Cummax (in the network itself)" in refused(Function(unknown)).message


def with_places(x: Any) -> Any:
    return ops.max_pool2d(x[:, None], 2, 2, return_indices=True)


def test_an_output_that_is_not_written_is_named_with_its_cell() -> None:
    assert "MaxPoolWithArgmaxV2 (in block.part)" in refused(Inside(with_places), outputs=2).message


def over_the_batch(x: Any) -> Any:
    return x[1:]


def test_a_form_that_is_not_known_is_named_with_its_cell() -> None:
    assert refused(Inside(over_the_batch)).message.startswith("StridedSlice (in block.part): ")
    assert refused(Function(over_the_batch)).message.startswith("StridedSlice (in the network itself): ")


def dropped(x: Any) -> Any:
    return ops.dropout(x, 0.5, True)


def normal(x: Any) -> Any:
    return x + ops.standard_normal((4, 6))


def uniform(x: Any) -> Any:
    return x + ops.rand(4, 6)


@pytest.mark.parametrize(
    ("function", "name"), [(dropped, "Dropout"), (normal, "StandardNormal"), (uniform, "UniformReal")]
)
def test_randomness_is_said_to_be_random(function: Callable[[Any], Any], name: str) -> None:
    error = refused(Inside(function))
    assert "random" in error.message
    assert name in error.message
    assert "inference mode" in str(error.hint)


class Counting(nn.Cell):
    """A network that changes its parameter ``seen``."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.seen = Parameter(Tensor(np.zeros((4, 6), np.float32)))

    def construct(self, x: Any) -> Any:
        if self.way == "assign":
            self.seen = self.seen + 1
        elif self.way == "assign_add":
            ops.assign_add(self.seen, x.sum(0))
        elif self.way == "in place":
            self.seen += 1
        elif self.way == "scatter":
            ops.scatter_update(self.seen, Tensor([0]), x[0, :1])
        else:
            self.seen[0] = x[0, 0]
        return x + self.seen


@pytest.mark.parametrize("way", ["assign", "assign_add", "in place", "scatter", "index"])
def test_a_network_that_changes_its_parameter(way: str) -> None:
    assert "changes its own parameter seen" in refused(Counting(way)).message


class Scattering(nn.Cell):
    """A network that makes new tensors from its parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Parameter(Tensor(np.random.default_rng(4).normal(0, 1, (4, 6)).astype(np.float32)))

    def construct(self, x: Any) -> Any:
        index = Tensor(np.asarray([[2, 0, 1, 3, 3, 0]]))
        ones = ops.ones((1, 6), mindspore.float32)
        return x + mint.scatter(self.table, 0, index, ones), x + mint.scatter_add(self.table, 0, index, ones)


def scattered(x: Any) -> Any:
    table = Scattering().table
    index = Tensor(np.asarray([[2, 0, 1, 3, 3, 0]]))
    ones = ops.ones((1, 6), mindspore.float32)
    return tuple(x + ops.tensor_scatter_elements(table, index, ones, 0, reduction) for reduction in ("none", "add"))


def test_a_new_tensor_made_from_a_parameter_is_no_change_of_it() -> None:
    assert_same(Scattering(), (4, 6), outputs=2, like=Function(scattered))


def two(x: Any) -> Any:
    return x * 2, x + 1


def constant(x: Any) -> Any:
    return ops.ones((x.shape[0], 3)) * 2


def sizes_only(x: Any) -> Any:
    return ops.arange(x.shape[0]) * 2


def test_outputs_that_no_classifier_has() -> None:
    assert "2 outputs, expected 1" in refused(Function(two)).message
    assert "does not depend on its input" in refused(Function(constant)).message
    assert "does not depend on its input" in refused(Function(sizes_only)).message


def uneven(x: Any) -> Any:
    return x + _TABLE


def test_a_constant_that_differs_between_images() -> None:
    message = refused(Inside(uneven)).message
    assert "for Add (in block.part), has other values for each image" in message


class Two(nn.Cell):
    """A network of two inputs."""

    def construct(self, x: Any, y: Any) -> Any:
        return x + y


def test_two_inputs() -> None:
    model, parameters = exported(Two(), (4, 6), (4, 6))
    with pytest.raises(InputError, match="2 inputs, and 1 were given: x"):
        reader.read_mindir(model, BATCH, inputs=("x",), outputs=("y",), parameters=parameters)


class Mixed(nn.Cell):
    """A network of which one layer computes in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Dense(6, 6), nn.Dense(6, 6).to_float(mindspore.float16)

    def construct(self, x: Any) -> Any:
        return self.wide(self.narrow(x).astype(mindspore.float32))


def test_float16_parts_are_named() -> None:
    model, parameters = exported(Mixed(), (4, 6))
    assert set(reader.read_mindir(model, BATCH, inputs=("x",), outputs=("y",), parameters=parameters).half) - {""} == {
        "narrow"
    }


def bfloat16(x: Any) -> Any:
    return (x.astype(mindspore.bfloat16) * 2).astype(mindspore.float32)


def test_types_that_onnx_kernels_lack_are_named() -> None:
    message = refused(Inside(bfloat16)).message
    assert "computes in bfloat16" in message
    assert "block.part" in message


@pytest.mark.parametrize("error", [KeyError("axis"), IndexError("tuple"), TypeError("no"), ZeroDivisionError()])
def test_whatever_a_primitive_raises_is_bad_input(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(call: Any) -> Any:
        raise error

    monkeypatch.setitem(PRIMITIVES, "Sin", broken)
    message = refused(Inside(ops.sin)).message
    assert "Sin (in block.part)" in message
    assert type(error).__name__ in message


class Deep(nn.Cell):
    """As many layers as there are weights."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        weights = np.random.default_rng(1).normal(0, 1, (layers, 4, 4)).astype(np.float32)
        self.weights = ParameterTuple([Parameter(Tensor(item), name=f"w{i}") for i, item in enumerate(weights)])

    def construct(self, x: Any) -> Any:
        # MindSpore compiles at most some 500 turns of a loop.
        for index in range(0, len(self.weights), 2):
            x += ops.relu(x @ self.weights[index])
            x += ops.relu(x @ self.weights[index + 1])
        return x


def test_the_work_of_reading_is_in_proportion_to_the_layers() -> None:
    def calls(layers: int) -> int:
        mindir, parameters = exported(Deep(layers), (4,))
        profile = cProfile.Profile()
        model = profile.runcall(
            reader.read_mindir, mindir, BATCH, inputs=("x",), outputs=("y",), parameters=parameters
        ).model
        assert [node.op_type for node in model.graph.node].count("Gemm") == layers
        return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]

    assert calls(500) < 5 * calls(124)  # four times in proportion, sixteen times if it were quadratic
