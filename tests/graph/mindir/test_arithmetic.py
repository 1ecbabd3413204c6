"""Arithmetic as amctq reads it from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
import onnx
import pytest
from mindspore import Parameter, Tensor, mint, nn, ops

from tests.graph.mindir.compare import Function, assert_same, read

_OTHER = Tensor(np.random.default_rng(7).normal(0, 1, (4, 6)).astype(np.float32))


def operators(x: Any) -> Any:
    return x + _OTHER, 2.5 + x, _OTHER - x, 1 - x, x * _OTHER * 2, x / _OTHER, 1 / (x * x + 1), -x


def quotients(x: Any) -> Any:
    whole = x.astype(mindspore.int32)
    return x // 2, x // _OTHER, x % 2, x % _OTHER, whole // 2, whole % 3, whole / 2, ops.remainder(x, 2)


def rounded_quotients(x: Any) -> Any:
    return (
        ops.div(x, 2, rounding_mode="floor"),
        ops.div(x, _OTHER, rounding_mode="trunc"),
        mint.div(x, _OTHER),
        ops.fmod(x, 2),
        mint.fmod(x, _OTHER),
        mint.remainder(x, 2),
        mint.remainder(x, _OTHER),
    )


def powers(x: Any) -> Any:
    positive = ops.abs(x) + 0.5
    return (
        x**2,
        positive**0.5,
        positive**_OTHER,
        2**x,
        mint.pow(x, 2),
        mint.pow(2, x),
        ops.sqrt(positive),
        ops.rsqrt(positive),
    )


def logarithms(x: Any) -> Any:
    positive = ops.abs(x) + 0.5
    return (
        ops.exp(x),
        ops.expm1(x),
        ops.log(positive),
        ops.log1p(positive),
        ops.log2(positive),
        ops.log10(positive),
        ops.logaddexp(x, _OTHER),
    )


def trigonometry(x: Any) -> Any:
    inside = ops.sin(x) * 0.9
    return (
        ops.cos(x),
        ops.tan(inside),
        ops.asin(inside),
        ops.acos(inside),
        ops.atan(x),
        ops.sinh(x),
        ops.cosh(x),
        ops.asinh(x),
        ops.acosh(ops.abs(x) + 1.5),
        ops.atanh(inside),
    )


def parts(x: Any) -> Any:
    return (
        ops.abs(x),
        ops.sign(x),
        ops.floor(x),
        ops.ceil(x),
        ops.round(x),
        ops.trunc(x),
        ops.reciprocal(ops.abs(x) + 1),
        ops.square(x),
        ops.erf(x),
        ops.erfc(x),
    )


def combinations(x: Any) -> Any:
    return (
        ops.maximum(x, _OTHER),
        ops.minimum(x, 0.5),
        ops.SquaredDifference()(x, _OTHER),
        ops.addcmul(x, _OTHER, _OTHER, 0.5),
        ops.addcdiv(x, _OTHER, ops.abs(_OTHER) + 1, 0.5),
        ops.lerp(x, _OTHER, 0.3),
        ops.lerp(x, _OTHER, _OTHER),
        ops.addn([x, x * 2, x]),
        mint.add(x, _OTHER, alpha=2),
        mint.sub(x, _OTHER, alpha=2),
    )


def types(x: Any) -> Any:
    whole, mask = x.astype(mindspore.int32), x > 0
    return (
        whole * 2.5,
        whole + x.astype(mindspore.int64),
        whole**2,
        mask * x,
        mask * 2,
        mask.float() + 1,
        x.bool(),
        ops.abs(x).astype(mindspore.uint8),
        whole + _OTHER,
        ops.sqrt(ops.abs(whole)),
        ops.addn([whole, whole]),
    )


def in_place(x: Any) -> Any:
    y = x + 1
    y += _OTHER
    y -= 2
    y *= _OTHER
    y /= 2
    z = x * 2
    z -= _OTHER
    z *= 0.5
    z /= _OTHER
    w = x + 1
    w //= 2
    v = x + 1
    v //= _OTHER
    u = x + 1
    u %= _OTHER
    return y, z, w, v, u


def aliases(x: Any) -> Any:
    y = x * 2
    before = y * 3
    y += 1
    first, second = ops.split(x * 1, 2, 1)
    double = first * 2
    first += second
    second += first
    rows = x * 2
    flat = rows.view(-1, 24)
    flat += 1
    copy = x * 1
    copy.copy_(x * 2)
    return before + y * 5, double, first, second, rows + flat.reshape(rows.shape), copy


@pytest.mark.parametrize(
    ("function", "outputs"),
    [
        (operators, 8),
        (quotients, 8),
        (rounded_quotients, 7),
        (powers, 8),
        (logarithms, 7),
        (trigonometry, 10),
        (parts, 10),
        (combinations, 10),
        (types, 11),
        (in_place, 5),
        (aliases, 6),
    ],
)
def test_arithmetic_is_that_of_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


def power_of_two(x: Any) -> Any:
    return mint.exp2(x), mint.frac(x)


def two_to_the_power(x: Any) -> Any:
    return 2**x, x - ops.trunc(x)


def test_functions_that_mindspore_has_no_kernel_of_on_a_cpu() -> None:
    assert_same(power_of_two, (4, 6), outputs=2, like=two_to_the_power)


def half(x: Any) -> Any:
    return (x.astype(mindspore.float16) * 2).astype(mindspore.float32)


def test_float16_is_read_as_float32() -> None:
    assert_same(half, (4, 6), tolerance=1e-3)
    nodes = read(Function(half), (4, 6)).graph.node
    assert [node.op_type for node in nodes] == ["Mul"]


def of_the_batch(x: Any) -> Any:
    return x + ops.arange(x.shape[0]).reshape(-1, 1, 1), x / x.shape[0], x.sum() / (x.shape[0] * x.shape[1])


def test_a_number_that_comes_from_the_batch_follows_the_batch() -> None:
    assert_same(of_the_batch, (4, 6), outputs=3)


def pairs(x: Any) -> Any:
    rounded = ops.round(x)  # with zeros of both signs
    return (
        ops.hypot(x, _OTHER),
        ops.atan2(x, _OTHER),
        ops.atan2(rounded, ops.round(_OTHER)),
        ops.xlogy(ops.relu(x), ops.abs(_OTHER)),
        ops.xdivy(ops.relu(x), x),
        ops.sinc(ops.relu(x)),
    )


def test_functions_with_special_cases() -> None:
    assert_same(pairs, (4, 6), outputs=6)


class Double(nn.Cell):
    """A network whose parameters, constants, values and results are float64 in part."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(Tensor(np.random.default_rng(1).normal(0, 1, (6, 5))), name="weight")
        self.table = Tensor(np.random.default_rng(2).normal(0, 1, (6, 6)))

    def construct(self, x: Any) -> Any:
        y = ops.matmul(x.astype(mindspore.float64), self.table)
        return ops.sin(y) * 2, ops.matmul(y, self.weight).float(), x + self.table[:4], ops.float_power(ops.abs(x), 1.5)


def test_float64_is_read_as_float32() -> None:
    model = assert_same(Double(), (4, 6), outputs=4)
    assert {item.type.tensor_type.elem_type for item in model.graph.output} == {onnx.TensorProto.FLOAT}
