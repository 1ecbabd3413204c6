"""Resizing as amctq reads it from MindIR."""

from __future__ import annotations

from typing import Any

import pytest
from mindspore import mint, nn, ops

from tests.graph.mindir.compare import Function, assert_same

SIZES = [(11, 13), (3, 18), (12, 18), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("mode", "align"),
    [
        ("nearest", None),
        ("nearest-exact", None),
        ("area", None),
        ("bilinear", False),
        ("bilinear", True),
        ("bicubic", False),
        ("bicubic", True),
    ],
)
def test_images_are_interpolated_as_in_mindspore(size: tuple[int, int], mode: str, align: bool | None) -> None:
    assert_same(Function(ops.interpolate, size=size, mode=mode, align_corners=align), (4, 6, 9))


@pytest.mark.parametrize("size", [7, 20, 18])
@pytest.mark.parametrize(
    ("mode", "align"), [("nearest", None), ("nearest-exact", None), ("linear", False), ("linear", True)]
)
def test_rows_are_interpolated_as_in_mindspore(size: int, mode: str, align: bool | None) -> None:
    assert_same(Function(ops.interpolate, size=(size,), mode=mode, align_corners=align), (4, 9))


@pytest.mark.parametrize(("mode", "align"), [("nearest", None), ("trilinear", False), ("trilinear", True)])
@pytest.mark.parametrize("size", [(7, 5, 8), (8, 10, 12)])
def test_volumes_are_interpolated_as_in_mindspore(size: tuple[int, int, int], mode: str, align: bool | None) -> None:
    assert_same(Function(ops.interpolate, size=size, mode=mode, align_corners=align), (2, 4, 5, 6))


@pytest.mark.parametrize("size", [(2, 3), (41, 55)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_nearest_pixel_is_mindspores_where_onnx_rounds_to_another(size: tuple[int, int], mode: str) -> None:
    assert_same(Function(ops.interpolate, size=size, mode=mode), (1, 14, 2))


@pytest.mark.parametrize("align", [False, True])
def test_resize_nearest_neighbor_may_align_corners(align: bool) -> None:
    assert_same(ops.ResizeNearestNeighbor((11, 14), align_corners=align), (4, 6, 9))


def test_bilinear_without_half_pixels_is_asymmetric() -> None:
    assert_same(Function(ops.ResizeBilinearV2(), (11, 14)), (4, 6, 9))


@pytest.mark.parametrize("keywords", [{"size": (11, 13)}, {"scale_factor": 2.0}, {"scale_factor": 1.7}])
def test_mint_nearest_takes_sizes_and_factors(keywords: dict[str, Any]) -> None:
    assert_same(Function(mint.nn.functional.interpolate, mode="nearest", **keywords), (4, 6, 9))


def test_a_whole_factor_needs_no_shape_of_the_input() -> None:
    network = nn.Upsample(scale_factor=2.0, mode="bilinear", recompute_scale_factor=True)
    model = assert_same(network, (4, 6, 9))
    assert [node.op_type for node in model.graph.node] == ["Resize"]


@pytest.mark.parametrize("function", [ops.pixel_shuffle, mint.nn.functional.pixel_shuffle])
def test_pixel_shuffle(function: Any) -> None:
    assert_same(Function(function, 2), (8, 6, 9))


def test_pixel_unshuffle() -> None:
    assert_same(Function(ops.pixel_unshuffle, 2), (8, 6, 10))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("keywords", [{"size": (11, 13)}, {"scale_factor": 2.0}])
def test_mint_bilinear_is_that_of_ops(keywords: dict[str, Any], align: bool) -> None:
    size = keywords.get("size", (12, 18))
    like = Function(ops.interpolate, size=size, mode="bilinear", align_corners=align)
    network = Function(mint.nn.functional.interpolate, mode="bilinear", align_corners=align, **keywords)
    assert_same(network, (4, 6, 9), like=like)


@pytest.mark.parametrize("align", [False, True])
def test_mint_linear_is_that_of_ops(align: bool) -> None:
    like = Function(ops.interpolate, size=(20,), mode="linear", align_corners=align)
    network = Function(mint.nn.functional.interpolate, size=(20,), mode="linear", align_corners=align)
    assert_same(network, (4, 9), like=like)


def test_mint_bicubic_is_that_of_ops_but_for_its_rounding() -> None:
    """The primitive of ops rounds the distance between pixels to 1/1024."""
    like = Function(ops.interpolate, size=(11, 13), mode="bicubic", align_corners=True)
    network = Function(mint.nn.functional.interpolate, size=(11, 13), mode="bicubic", align_corners=True)
    assert_same(network, (4, 6, 9), like=like, tolerance=2e-3)
