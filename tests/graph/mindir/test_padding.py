"""Padding as amctq reads it from MindIR."""

from __future__ import annotations

from typing import Any

import pytest
from mindspore import mint, nn, ops

from amctq.errors import InputError
from tests.graph.mindir.compare import Function, assert_same, read

CASES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1, 2), (4, 6)),
    ((1, 2, 3, 0), (4, 6, 7)),
    ((1, 2, 0, 1, 2, 1), (2, 4, 5, 6)),
]


@pytest.mark.parametrize(("pads", "shape"), CASES)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_the_modes_of_pad(mode: str, pads: tuple[int, ...], shape: tuple[int, ...]) -> None:
    value = -1.5 if mode == "constant" else None
    like = Function(ops.pad, pads, mode, value)
    if mode == "reflect" and len(shape) == 4:  # ops.pad refuses that
        like = nn.ReflectionPad3d(pads)
    assert_same(like, shape)
    assert_same(Function(mint.nn.functional.pad, pads, mode, value), shape, like=like)


@pytest.mark.parametrize("mode", ["CONSTANT", "REFLECT", "SYMMETRIC"])
def test_the_modes_of_the_cell_pad(mode: str) -> None:
    assert_same(nn.Pad(((0, 0), (0, 0), (1, 2), (3, 0)), mode=mode), (4, 6, 7))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (nn.ZeroPad2d((1, 2, 3, 0)), (4, 6, 7)),
        (nn.ZeroPad2d((-1, 2, 3, -2)), (4, 6, 7)),
        (nn.ConstantPad1d((1, 2), 1.5), (4, 6)),
        (nn.ConstantPad3d((1, 2, 3, 0, 1, 1), -1.5), (2, 3, 4, 5)),
        (nn.ReflectionPad2d((1, 2, 3, 0)), (4, 6, 7)),
        (nn.ReplicationPad3d((1, 2, 3, 0, 1, 1)), (2, 4, 4, 5)),
    ],
)
def test_the_cells_that_pad(network: Any, shape: tuple[int, ...]) -> None:
    assert_same(network, shape)


@pytest.mark.parametrize("pads", [(-1, 2, 3, 0), (-3, 3, 2, -1), (3, -3, -1, -2)])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_negative_pads_cut_off(mode: str, pads: tuple[int, ...]) -> None:
    assert_same(Function(ops.pad, pads, mode), (4, 6, 7))


def test_more_than_the_axis_has_is_not_repeated() -> None:
    """MindSpore reads other memory there."""
    with pytest.raises(InputError, match=r"PadV3.*: pads \(-2, 6\) repeat more than the 5 values of the axis"):
        read(Function(ops.pad, (-2, 6, 0, 0), "circular"), (4, 6, 7))
