"""Resizing as amctq reads it from MindIR."""

from __future__ import annotations

from typing import Any

import pytest
from mindspore import mint, nn, ops

from tests.graph.mindir.compare import Function, assert_same

Case = tuple[tuple[int, ...], str, bool | None]  # size, mode, align_corners


class Interpolated(nn.Cell):
    """One tensor in many ways: MindSpore takes two seconds to read ops.interpolate, once for each network."""

    def __init__(self, cases: list[Case]) -> None:
        super().__init__()
        self.cases = cases

    def construct(self, x: Any) -> Any:
        found: Any = ()
        for size, mode, align in self.cases:
            found += (ops.interpolate(x, size=size, mode=mode, align_corners=align),)
        return found


def _assert_interpolated(shape: tuple[int, ...], cases: list[Case]) -> None:
    assert_same(Interpolated(cases), shape, outputs=len(cases))


def test_images_are_interpolated_as_in_mindspore() -> None:
    ways: list[tuple[str, bool | None]] = [("nearest", None), ("nearest-exact", None), ("area", None)]
    ways += [("bilinear", False), ("bilinear", True), ("bicubic", False), ("bicubic", True)]
    sizes = [(11, 13), (3, 18), (12, 18), (1, 1)]
    _assert_interpolated((4, 6, 9), [(size, *way) for way in ways for size in sizes])


def test_rows_are_interpolated_as_in_mindspore() -> None:
    ways: list[tuple[str, bool | None]] = [("nearest", None), ("nearest-exact", None)]
    ways += [("linear", False), ("linear", True)]
    _assert_interpolated((4, 9), [((size,), *way) for way in ways for size in (7, 20, 18)])


def test_volumes_are_interpolated_as_in_mindspore() -> None:
    ways: list[tuple[str, bool | None]] = [("nearest", None), ("trilinear", False), ("trilinear", True)]
    sizes = [(7, 5, 8), (8, 10, 12)]
    _assert_interpolated((2, 4, 5, 6), [(size, *way) for way in ways for size in sizes])


def test_the_nearest_pixel_is_mindspores_where_onnx_rounds_to_another() -> None:
    sizes, modes = [(2, 3), (41, 55)], ("nearest", "nearest-exact")
    _assert_interpolated((1, 14, 2), [(size, mode, None) for mode in modes for size in sizes])


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
