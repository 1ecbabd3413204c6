"""Pooling as amctq reads it from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import pytest
from mindspore import mint, nn, ops

from amctq.errors import InputError
from tests.graph.mindir.compare import Function, assert_same, read


def operators(model: onnx.ModelProto) -> list[str]:
    """The operators of a graph."""
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize(
    "settings",
    [
        {"pad_mode": "valid"},
        {"pad_mode": "same"},
        {"pad_mode": "pad", "padding": 1},
        {"pad_mode": "pad", "padding": 1, "dilation": 2, "ceil_mode": True},
        {"pad_mode": "pad", "padding": (1, 0), "ceil_mode": True},
    ],
)
@pytest.mark.parametrize("size", [(9, 8), (10, 11)])
def test_the_largest_of_a_window(size: tuple[int, int], settings: dict[str, Any]) -> None:
    model = assert_same(nn.MaxPool2d(3, 2, **settings), (4, *size))
    assert operators(model) == ["MaxPool"]


@pytest.mark.parametrize(
    "settings",
    [
        {"pad_mode": "valid"},
        {"pad_mode": "same"},
        {"pad_mode": "pad", "padding": 1},
        {"pad_mode": "pad", "padding": 1, "count_include_pad": False},
        {"pad_mode": "pad", "padding": 1, "ceil_mode": True},
        {"pad_mode": "pad", "padding": 1, "ceil_mode": True, "count_include_pad": False},
        {"pad_mode": "pad", "padding": (1, 0), "divisor_override": 5},
    ],
)
@pytest.mark.parametrize("size", [(9, 8), (10, 11)])
def test_the_mean_of_a_window(size: tuple[int, int], settings: dict[str, Any]) -> None:
    model = assert_same(nn.AvgPool2d(3, 2, **settings), (4, *size))
    assert operators(model)[-1 if "divisor_override" not in settings else 0] == "AveragePool"


def test_a_mean_of_the_whole_image_is_a_global_one() -> None:
    assert operators(assert_same(nn.AvgPool2d((9, 8)), (4, 9, 8))) == ["GlobalAveragePool"]
    assert operators(assert_same(nn.AdaptiveAvgPool2d(1), (4, 9, 8))) == ["GlobalAveragePool"]


@pytest.mark.parametrize("cell", [nn.MaxPool1d, nn.AvgPool1d])
@pytest.mark.parametrize("mode", ["valid", "same", "pad"])
def test_pools_of_rows(cell: type[nn.Cell], mode: str) -> None:
    settings = {"padding": 1, "ceil_mode": True} if mode == "pad" else {}
    assert_same(cell(3, 2, pad_mode=mode, **settings), (4, 10))


@pytest.mark.parametrize("cell", [nn.MaxPool3d, nn.AvgPool3d])
@pytest.mark.parametrize("mode", ["valid", "same", "pad"])
def test_pools_of_volumes(cell: type[nn.Cell], mode: str) -> None:
    settings = {"padding": 1, "ceil_mode": True} if mode == "pad" else {}
    assert_same(cell(3, 2, pad_mode=mode, **settings), (4, 6, 10, 11))


@pytest.mark.parametrize(
    "function",
    [
        Function(ops.max_pool2d, 3, 2, 1, 2, ceil_mode=True),
        Function(ops.avg_pool2d, 3, 2, 1, ceil_mode=True),
        Function(ops.lp_pool2d, 2.0, 3, 2),
    ],
)
def test_the_functions_of_images(function: nn.Cell) -> None:
    assert_same(function, (4, 10, 11))


@pytest.mark.parametrize(
    "function",
    [Function(ops.max_pool3d, 3, 2, 1), Function(ops.avg_pool3d, 3, 2, 1, ceil_mode=True, count_include_pad=False)],
)
def test_the_functions_of_volumes(function: nn.Cell) -> None:
    assert_same(function, (4, 7, 9, 8))


def test_a_dilated_window_may_reach_far_behind_the_image() -> None:
    assert_same(nn.MaxPool2d(2, 5, pad_mode="pad", padding=1, dilation=4, ceil_mode=True), (4, 9, 9))


@pytest.mark.parametrize(
    "settings", [(3, 2, 1), (3, None, 1, False, False), (2, 3, 0, True), (3, 2, 1, True, False, 7)]
)
def test_the_means_of_mint(settings: tuple[Any, ...]) -> None:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    keywords = dict(zip(names, settings, strict=False))
    like = Function(ops.avg_pool2d, **{**keywords, "stride": keywords["stride"] or keywords["kernel_size"]})
    assert_same(Function(mint.nn.functional.avg_pool2d, **keywords), (4, 10, 11), like=like)


def test_the_pools_of_mint() -> None:
    functional = mint.nn.functional
    like = Function(ops.max_pool2d, 3, 2, 1)
    assert_same(Function(functional.max_pool2d, 3, 2, 1), (4, 9, 8), like=like)
    like = Function(ops.avg_pool1d, 3, 2, 1)
    assert_same(Function(functional.avg_pool1d, 3, 2, 1), (4, 9), like=like)


def test_the_positions_of_the_largest_values_are_refused() -> None:
    network = Function(ops.max_pool2d, 3, 2, 1, return_indices=True)
    with pytest.raises(InputError, match=r"does not write output 1 of MaxPoolWithArgmaxV2 \(in the network itself\)"):
        read(network, (4, 9, 8), outputs=2)


@pytest.mark.parametrize("size", [1, 3, (3, 4), (5, 6), (None, 3), (11, 13)])
@pytest.mark.parametrize("function", [ops.adaptive_avg_pool2d, ops.adaptive_max_pool2d])
def test_pools_to_a_size(function: Callable[..., Any], size: Any) -> None:
    assert_same(Function(function, size), (4, 9, 8))


def test_windows_of_one_width_are_a_plain_pool() -> None:
    assert operators(assert_same(nn.AdaptiveAvgPool2d((4, 2)), (4, 9, 8))) == ["AveragePool"]
    assert operators(assert_same(Function(ops.adaptive_max_pool2d, (4, 2)), (4, 9, 8))) == ["MaxPool"]


@pytest.mark.parametrize("size", [(2, 3, 3), (3, 3, 4)])
@pytest.mark.parametrize("function", [ops.adaptive_avg_pool3d, ops.adaptive_max_pool3d])
def test_pools_of_volumes_to_a_size(function: Callable[..., Any], size: tuple[int, int, int]) -> None:
    assert_same(Function(function, size), (4, 4, 9, 8))


def test_adaptive_means_of_mint() -> None:
    functional = mint.nn.functional
    assert_same(Function(functional.adaptive_avg_pool2d, (5, 6)), (4, 9, 8), like=nn.AdaptiveAvgPool2d((5, 6)))
    assert_same(Function(functional.adaptive_avg_pool1d, 3), (4, 9), like=nn.AdaptiveAvgPool1d(3))
