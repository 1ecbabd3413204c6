"""Convolutions as amctq reads them from MindIR."""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, mint, nn, ops
from mindspore.ops.auto_generate import gen_ops_prim

from tests.graph.mindir.compare import Function, assert_same

RANDOM = np.random.default_rng(2)


def tensor(*shape: int) -> Tensor:
    """A weight of random values."""
    return Tensor(RANDOM.normal(size=shape), mindspore.float32)


@pytest.mark.parametrize("pad_mode", ["same", "valid", "pad"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_pads_strides_and_dilates_as_in_mindspore(pad_mode: str, dilation: int, stride: int) -> None:
    padding = (1, 2, 0, 3) if pad_mode == "pad" else 0
    network = nn.Conv2d(
        4, 6, 3, stride=stride, dilation=dilation, pad_mode=pad_mode, padding=padding, group=2, has_bias=True
    )
    assert_same(network, (4, 11, 14))


def test_a_depthwise_convolution() -> None:
    assert_same(nn.Conv2d(4, 8, (3, 5), stride=(2, 1), group=4, has_bias=True), (4, 9, 8))


@pytest.mark.parametrize("pad_mode", ["same", "valid", "pad"])
def test_a_convolution_of_rows(pad_mode: str) -> None:
    padding = 2 if pad_mode == "pad" else 0
    assert_same(
        nn.Conv1d(4, 6, 3, stride=2, dilation=1, pad_mode=pad_mode, padding=padding, group=2, has_bias=True), (4, 10)
    )


@pytest.mark.parametrize(("pad_mode", "dilation", "stride"), [("same", 1, 2), ("valid", (1, 2, 1), 1), ("pad", 1, 1)])
def test_a_convolution_of_volumes(pad_mode: str, dilation: Any, stride: int) -> None:
    padding = (1, 0, 2, 1, 0, 1) if pad_mode == "pad" else 0
    network = nn.Conv3d(
        4, 6, 3, stride=stride, dilation=dilation, pad_mode=pad_mode, padding=padding, has_bias=pad_mode == "same"
    )
    assert_same(network, (4, 5, 6, 5))


def test_a_convolution_with_constant_weights() -> None:
    network = Function(ops.conv2d, tensor(6, 2, 3, 3), tensor(6), stride=2, pad_mode="same", groups=2, dilation=2)
    assert_same(network, (4, 9, 8))


class BiasBehindReshapes(nn.Cell):
    """Adds a bias to a convolution's output, which it also uses without it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 6, 3)
        self.bias = tensor(6)

    def construct(self, x: Any) -> Any:
        y = self.layer(x)
        return ops.bias_add(ops.squeeze(ops.expand_dims(y, 2), 2), self.bias) * y


def test_a_bias_joins_the_layer_only_if_nothing_reads_its_output_without_it() -> None:
    model = assert_same(BiasBehindReshapes(), (4, 7, 8))
    assert "Add" in [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    "settings",
    [
        {"stride": 2, "pad_mode": "same"},
        {"stride": 3, "pad_mode": "same"},
        {"stride": 2, "pad_mode": "valid", "dilation": 2},
        {"stride": 2, "pad_mode": "pad", "padding": 1, "output_padding": 1, "has_bias": True},
        {"stride": 2, "pad_mode": "pad", "padding": (1, 0, 1, 2), "has_bias": True},
        {"stride": (3, 1), "pad_mode": "pad", "padding": 1, "group": 2, "has_bias": True},
    ],
)
@pytest.mark.parametrize("kernel", [2, 3])
def test_a_transposed_convolution(kernel: int, settings: dict[str, Any]) -> None:
    assert_same(nn.Conv2dTranspose(4, 6, kernel, **settings), (4, 7, 8))


@pytest.mark.parametrize(
    "settings",
    [
        {"pad_mode": "same", "has_bias": True},
        {"pad_mode": "valid", "group": 2},
        {"pad_mode": "pad", "padding": 1, "dilation": 2},
    ],
)
def test_a_transposed_convolution_of_rows(settings: dict[str, Any]) -> None:
    assert_same(nn.Conv1dTranspose(4, 6, 3, stride=2, **settings), (4, 7))


@pytest.mark.parametrize(
    "settings",
    [
        {"pad_mode": "same", "has_bias": True},
        {"pad_mode": "valid"},
        {"pad_mode": "pad", "padding": (1, 1, 0, 1, 1, 0), "output_padding": 1},
    ],
)
def test_a_transposed_convolution_of_volumes(settings: dict[str, Any]) -> None:
    assert_same(nn.Conv3dTranspose(4, 6, 3, stride=2, **settings), (4, 3, 4, 5))


def test_the_convolutions_of_mint() -> None:
    functional = mint.nn.functional
    weight, bias = tensor(6, 2, 3, 3), tensor(6)
    like = Function(ops.conv2d, weight, bias, stride=2, pad_mode="pad", padding=1, groups=2, dilation=2)
    assert_same(
        Function(functional.conv2d, weight, bias, stride=2, padding=1, groups=2, dilation=2), (4, 9, 8), like=like
    )
    row = tensor(6, 2, 3)
    like = Function(ops.conv1d, row, None, stride=2, pad_mode="pad", padding=1, groups=2)
    assert_same(Function(functional.conv1d, row, stride=2, padding=1, groups=2), (4, 9), like=like)
    volume = tensor(6, 4, 3, 3, 3)
    like = Function(ops.conv3d, volume, bias, stride=2, pad_mode="pad", padding=1)
    assert_same(Function(functional.conv3d, volume, bias, stride=2, padding=1), (4, 5, 6, 7), like=like)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_in_words(padding: str) -> None:
    weight, bias = tensor(6, 2, 3, 4), tensor(6)
    like = Function(ops.conv2d, weight, bias, pad_mode=padding, groups=2, dilation=2)
    arguments = (weight, bias, (1, 1), padding, (2, 2))
    assert_same(Function(gen_ops_prim.Conv2DPadding(), *arguments, 2), (4, 9, 11), like=like)
    assert_same(Function(gen_ops_prim.ConvolutionStr(), *arguments, False, (0, 0), 2), (4, 9, 11), like=like)
    assert_same(
        Function(mint.nn.functional.conv2d, weight, bias, padding=padding, groups=2, dilation=2), (4, 9, 11), like=like
    )


def test_the_transposed_convolutions_of_mint() -> None:
    like = nn.Conv2dTranspose(4, 6, 3, stride=2, pad_mode="pad", padding=1, group=2, has_bias=True)
    weight = Tensor(like.weight.asnumpy())
    like.bias.set_data(tensor(6))
    arguments = (weight, Tensor(like.bias.asnumpy()))
    function = Function(mint.nn.functional.conv_transpose2d, *arguments, stride=2, padding=1, groups=2)
    assert_same(function, (4, 7, 8), like=like)
    primitive = Function(gen_ops_prim.Convolution(), *arguments, (2, 2), (1, 1), (1, 1), True, (0, 0), 2)
    assert_same(primitive, (4, 7, 8), like=like)
