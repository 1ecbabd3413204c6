"""Activations as amctq reads them from MindIR."""

from __future__ import annotations

from typing import Any

import mindspore
import pytest
from mindspore import Tensor, mint, nn, ops

from tests.graph.mindir.compare import Function, assert_same

SLOPES = Tensor([0.1, 0.2, 0.3, 0.4], mindspore.float32)
FUNCTIONAL = mint.nn.functional


# With a kernel on the CPU.
CALLS: list[tuple[Any, ...]] = [
    (ops.relu,),
    (ops.relu6,),
    (ops.leaky_relu, 0.3),
    (ops.prelu, SLOPES),
    (ops.prelu, Tensor([0.3], mindspore.float32)),
    (ops.elu,),
    (ops.selu,),
    (ops.celu, 1.5),
    (ops.silu,),
    (ops.mish,),
    (ops.hardswish,),
    (ops.hardsigmoid,),
    (ops.hardtanh, -0.7, 1.3),
    (ops.hardshrink, 0.6),
    (ops.softshrink, 0.6),
    (ops.softsign,),
    (ops.gelu, "none"),
    (ops.fast_gelu,),
    (ops.sigmoid,),
    (ops.logsigmoid,),
    (ops.softmax, 1),
    (ops.softmax, -1),
    (ops.log_softmax, 1),
    (ops.softplus,),
    (ops.softplus, 2.0, 1.0),
    (FUNCTIONAL.softplus, 2.0, 1.0),
    (FUNCTIONAL.softplus, 0.5),
]
# Without one: by MindSpore's mint, what computes the same.
TWINS: list[tuple[tuple[Any, ...], tuple[Any, ...]]] = [
    ((FUNCTIONAL.relu6,), (ops.relu6,)),
    ((FUNCTIONAL.leaky_relu, 0.3), (ops.leaky_relu, 0.3)),
    ((FUNCTIONAL.leaky_relu,), (ops.leaky_relu, 0.01)),
    ((FUNCTIONAL.elu,), (ops.elu,)),
    ((FUNCTIONAL.selu,), (ops.selu,)),
    ((FUNCTIONAL.mish,), (ops.mish,)),
    ((FUNCTIONAL.hardtanh, -0.7, 1.3), (ops.hardtanh, -0.7, 1.3)),
    ((FUNCTIONAL.logsigmoid,), (ops.logsigmoid,)),
    ((FUNCTIONAL.log_softmax, 1), (ops.log_softmax, 1)),
    ((FUNCTIONAL.threshold, 0.5, -2.0), (ops.threshold, 0.5, -2.0)),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0].__name__}{len(call) - 1}")
def test_activations(call: tuple[Any, ...]) -> None:
    assert_same(Function(*call), (4, 6, 7))


@pytest.mark.parametrize(("call", "twin"), TWINS, ids=lambda call: call[0].__name__)
def test_the_activations_of_mint(call: tuple[Any, ...], twin: tuple[Any, ...]) -> None:
    assert_same(Function(*call), (4, 6, 7), like=Function(*twin))


def test_activations_that_mindspore_approximates() -> None:
    """MindSpore's tanh on the CPU is off by 1e-4."""
    for call in [(ops.tanh,), (ops.tanhshrink,), (ops.gelu, "tanh")]:
        assert_same(Function(*call), (4, 6, 7), tolerance=2e-4)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_the_gelu_of_mint(approximate: str) -> None:
    network = Function(FUNCTIONAL.gelu, approximate=approximate)
    assert_same(network, (4, 6, 7), like=Function(ops.gelu, approximate), tolerance=2e-4)


@pytest.mark.parametrize("axis", [1, -1])
def test_gates(axis: int) -> None:
    assert_same(Function(FUNCTIONAL.glu, axis), (4, 6, 8))
    assert_same(Function(ops.glu, axis), (4, 6, 8))

    def swiglu(x: Any) -> Any:
        first, second = ops.split(x, x.shape[axis] // 2, axis)
        return ops.silu(first) * second

    assert_same(Function(ops.swiglu, axis), (4, 6, 8), like=swiglu)


def test_operators_that_integer_kernels_or_fusions_look_for() -> None:
    assert [node.op_type for node in assert_same(nn.HSwish(), (4, 6, 7)).graph.node] == ["HardSwish"]
    assert [node.op_type for node in assert_same(nn.SiLU(), (4, 6, 7)).graph.node] == ["Sigmoid", "Mul"]
    assert [node.op_type for node in assert_same(nn.ReLU6(), (4, 6, 7)).graph.node] == ["Clip"]
