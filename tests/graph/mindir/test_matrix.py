"""Matrix products as amctq reads them from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mindspore import Parameter, Tensor, mint, nn, ops

from tests.graph.mindir.compare import assert_same


def _random(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(len(shape)).normal(0, 1, shape).astype(np.float32))


_WEIGHT, _TURNED, _VECTOR, _BIAS, _LEFT = _random(6, 5), _random(5, 6), _random(6), _random(5), _random(3, 4)


def with_weights(x: Any) -> Any:
    return (
        x @ _WEIGHT,
        ops.matmul(x, _TURNED.T),
        mint.matmul(x, _WEIGHT),
        ops.matmul(x, _VECTOR),
        _LEFT @ x,
        ops.dense(x, _TURNED, _BIAS),
        ops.dense(x, _TURNED),
        ops.dense(x, _VECTOR),
        ops.tensor_dot(x, _WEIGHT, 1),
    )


def of_activations(x: Any) -> Any:
    square = ops.BatchMatMul(transpose_a=True)(x, x)
    return (
        x @ x.swapaxes(-1, -2),
        ops.bmm(x, x.swapaxes(1, 2)),
        mint.bmm(x, x.transpose(0, 2, 1)),
        square,
        ops.BatchMatMul(transpose_b=True)(x, square),
        ops.BatchMatMul(transpose_a=True, transpose_b=True)(x, square[:, :, :4]),
        ops.baddbmm(x[:, :, :4], x, x.swapaxes(1, 2), beta=0.5, alpha=2),
    )


def of_matrices(x: Any) -> Any:
    return (
        ops.MatMul(transpose_a=True)(x, x),
        ops.MatMul(transpose_b=True)(x, _TURNED),
        x @ _WEIGHT,
        ops.addmm(_BIAS, x, _WEIGHT, beta=2, alpha=0.5),
        ops.addmv(x[:, 0], x, _VECTOR),
        ops.mv(x, _VECTOR),
        x + ops.outer(x.sum(0), _VECTOR).sum(0),
    )


@pytest.mark.parametrize(
    ("function", "outputs", "shape"),
    [(with_weights, 9, (4, 6)), (with_weights, 9, (2, 4, 6)), (of_activations, 7, (4, 6)), (of_matrices, 7, (6,))],
)
def test_products_are_those_of_mindspore(function: Callable[[Any], Any], outputs: int, shape: tuple[int, ...]) -> None:
    assert_same(function, shape, outputs=outputs)


def attention(x: Any) -> Any:
    return ops.softmax(ops.matmul(x, x.swapaxes(-2, -1)) * 0.3, -1) @ x


def test_attention_is_two_products_of_activations() -> None:
    model = assert_same(attention, (2, 4, 6))
    assert [node.op_type for node in model.graph.node].count("MatMul") == 2


def add_matrices(x: Any) -> Any:
    return mint.addmm(_BIAS, x, _WEIGHT, beta=2, alpha=0.5)


def added_matrices(x: Any) -> Any:
    return ops.addmm(_BIAS, x, _WEIGHT, beta=2, alpha=0.5)


def sum_of_products(x: Any) -> Any:
    return ops.einsum("nij,nkj->nik", x, x)


def matrix_products(x: Any) -> Any:
    return ops.matmul(x, x.swapaxes(1, 2))


@pytest.mark.parametrize(
    ("function", "expected", "shape"),
    [(add_matrices, added_matrices, (6,)), (sum_of_products, matrix_products, (4, 6))],
)
def test_a_product_that_mindspore_has_no_kernel_of_on_a_cpu(
    function: Callable[[Any], Any], expected: Callable[[Any], Any], shape: tuple[int, ...]
) -> None:
    assert_same(function, shape, like=expected)


class Affine(nn.Cell):
    """X · w + b of parameters, written in several ways."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.w = Parameter(_random(5, 6) if form == "turned" else _random(6, 5))
        self.b = Parameter(_random(5))

    def construct(self, x: Any) -> Any:
        if self.form == "turned":
            return self.b + ops.matmul(x, self.w.T)
        y = x @ self.w
        if self.form == "in place":
            y += self.b
            return y
        if self.form == "part":  # which MindSpore takes after the product
            return y + ops.concat((self.b[:2], self.b))[2:]
        if self.form == "twice":
            return y + self.b + y
        return y + self.b


@pytest.mark.parametrize("shape", [(6,), (4, 6)])
@pytest.mark.parametrize("form", ["plain", "turned", "in place", "part"])
def test_a_sum_of_product_and_vector_is_one_gemm(form: str, shape: tuple[int, ...]) -> None:
    model = assert_same(Affine(form), shape)
    products = [node for node in model.graph.node if node.op_type == "Gemm"]
    assert [len(node.input) for node in products] == [3]
    assert not [node for node in model.graph.node if node.op_type == "Add"]


def test_a_product_that_is_read_twice_keeps_its_sum_outside() -> None:
    model = assert_same(Affine("twice"), (4, 6))
    assert [len(node.input) for node in model.graph.node if node.op_type == "Gemm"] == [2]


class Projections(nn.Cell):
    """Three projections whose weights are one parameter, as in attention."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = Parameter(_random(18, 6)), Parameter(_random(18))

    def construct(self, x: Any) -> Any:
        q, k, v = ops.split(self.w, 6, 0)
        a, b, c = ops.chunk(self.b, 3)
        return x @ q.T + a, ops.dense(x, k, b), x @ v.T + c


def test_weights_that_are_parts_of_one_parameter_are_weights() -> None:
    model = assert_same(Projections(), (4, 6), outputs=3)
    assert [len(node.input) for node in model.graph.node if node.op_type == "Gemm"] == [3, 3, 3]


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 4, 6)])
@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.Dense(6, 5, activation="relu"),
        lambda: nn.SequentialCell(nn.Dense(6, 5, has_bias=False), nn.Dense(5, 7, activation=nn.GELU())),
        lambda: mint.nn.Linear(6, 5),
        lambda: mint.nn.Linear(6, 5, bias=False),
    ],
)
def test_a_dense_layer_of_any_rank(layer: Callable[[], nn.Cell], shape: tuple[int, ...]) -> None:
    model = assert_same(layer(), shape)
    assert "Gemm" in {node.op_type for node in model.graph.node}
    assert "MatMul" not in {node.op_type for node in model.graph.node}
