"""Which tensors are quantized, on small graphs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.choices import Placement
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations, PlacementPlan, place_ascend
from amctq.graph.placement_ort import place_ort
from amctq.graph.topology import read_topology
from amctq.quant.numerics import QParams
from tests.graph.graphs import float_graph, quoted, residual_graph


def _graph(body: str, **shapes: tuple[int, ...]) -> FloatGraph:
    """conv1.weight is written conv1, and so on."""
    random = np.random.default_rng(1)
    arrays: dict[str, NDArray[np.float32]] = {
        f"{name}.weight": random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()
    }
    for name in shapes:
        body = body.replace(f" {name})", f" {name}.weight)")
    return float_graph(quoted(body, arrays), arrays)


def _ort(graph: FloatGraph, without: set[str] | None = None) -> PlacementPlan:
    topology = read_topology(graph)
    return place_ort(graph, topology.only({layer.name for layer in topology.layers} - (without or set())))


def _tensors(plan: PlacementPlan) -> list[str]:
    return [site.tensor for site in plan.sites]


def test_ascend_quantizes_the_inputs_of_layers() -> None:
    topology = read_topology(residual_graph())
    plan = place_ascend(topology, dict.fromkeys(("conv1", "left", "right", "end_point")))
    assert [(site.tensor, site.layers) for site in plan.sites] == [
        ("image", ("conv1",)),
        ("c", ("left", "right")),
        ("j", ("end_point",)),
    ]


def test_layers_that_are_not_alike_do_not_share_a_site() -> None:
    topology = read_topology(residual_graph())
    plan = place_ascend(topology, {"conv1": 0, "left": 0, "right": 1, "end_point": 0})
    assert [site.layers for site in plan.sites] == [("conv1",), ("left",), ("right",), ("end_point",)]


def test_ort_quantizes_everything_between_layers() -> None:
    """Both operands of the addition, what the pooling reads, and what it gives, behind which Flatten only moves."""
    plan = _ort(residual_graph())
    assert _tensors(plan) == ["image", "c", "e", "f", "h", "i"]
    assert plan.moves == {"9Flatten"}
    by_tensor = {site.tensor: site for site in plan.sites}
    assert by_tensor["i"].watched == "j"
    assert by_tensor["i"].layers == ("end_point",)
    assert [by_tensor[name].like for name in "efh"] == ["left", "right", "right"]


def test_ascend_is_part_of_ort() -> None:
    graph = residual_graph()
    topology = read_topology(graph)
    ascend = place_ascend(topology, dict.fromkeys(layer.name for layer in topology.layers))
    read = {(site.watched, site.layers) for site in place_ort(graph, topology).sites}
    assert {(site.watched, site.layers) for site in ascend.sites} <= read


def test_an_addition_with_a_float_operand_stays_float() -> None:
    """The convolution on the other side still yields integers: it has no integer kernel that yields floats."""
    plan = _ort(residual_graph(), without={"left"})
    assert _tensors(plan) == ["image", "c", "f", "i"]
    assert not plan.integers


def test_an_addition_that_nobody_reads_as_integers_stays_float() -> None:
    plan = _ort(residual_graph(), without={"end_point"})
    assert _tensors(plan) == ["image", "c", "e", "f"]
    assert not plan.integers


def test_moves_share_the_scale_of_what_they_move() -> None:
    """The shortcut of the CIFAR ResNets: every second pixel, channels of zeros around."""
    graph = _graph(
        """
        starts = Constant <value = int64[2] {0, 0}> ()
        ends = Constant <value = int64[2] {8, 8}> ()
        axes = Constant <value = int64[2] {2, 3}> ()
        steps = Constant <value = int64[2] {2, 2}> ()
        pads = Constant <value = int64[8] {0, 1, 0, 0, 0, 1, 0, 0}> ()
        a = Conv <pads = [1, 1, 1, 1]> (image, conv1)
        b = Relu (a)
        c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (b, conv2)
        d = Slice (b, starts, ends, axes, steps)
        e = Pad (d, pads)
        f = Add (c, e)
        g = Relu (f)
        h = GlobalAveragePool (g)
        i = Flatten (h)
        logits = Gemm <transB = 1> (i, fc)
        """,
        conv1=(4, 3, 3, 3),
        conv2=(6, 4, 3, 3),
        fc=(5, 6),
    )
    plan = _ort(graph)
    assert _tensors(plan) == ["image", "b", "c", "g", "h"]
    assert {name.lstrip("0123456789") for name in plan.moves} == {"Slice", "Pad", "Flatten"}
    assert {site.tensor: site.watched for site in plan.sites}["b"] == "b"


def test_behind_a_max_pool_the_layer_s_input_decides() -> None:
    graph = _graph(
        """
        a = Conv <pads = [1, 1, 1, 1]> (image, conv1)
        b = Relu (a)
        c = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)
        d = Conv <pads = [1, 1, 1, 1]> (c, conv2)
        e = GlobalAveragePool (d)
        f = Flatten (e)
        logits = Gemm <transB = 1> (f, fc)
        """,
        conv1=(4, 3, 3, 3),
        conv2=(4, 4, 3, 3),
        fc=(5, 4),
    )
    sites = {site.tensor: site for site in _ort(graph).sites}
    assert list(sites) == ["image", "b", "d", "e"]
    assert sites["b"].watched == "c"
    assert sites["b"].layers == ("conv2",)


def test_a_pad_with_another_value_than_zero_is_no_move() -> None:
    graph = _graph(
        """
        pads = Constant <value = int64[8] {0, 0, 1, 1, 0, 0, 1, 1}> ()
        one = Constant <value = float {1.0}> ()
        a = Conv (image, conv1)
        b = Pad (a, pads, one)
        c = Conv (b, conv2)
        d = GlobalAveragePool (c)
        e = Flatten (d)
        logits = Gemm <transB = 1> (e, fc)
        """,
        conv1=(4, 3, 3, 3),
        conv2=(4, 4, 3, 3),
        fc=(5, 4),
    )
    plan = _ort(graph)
    assert "b" in _tensors(plan)
    assert {name.lstrip("0123456789") for name in plan.moves} == {"Flatten"}


def test_further_scales_are_those_that_no_layer_reads() -> None:
    plan = _ort(residual_graph())
    placed = PlacedActivations(plan=plan, qparams=tuple(QParams(0.1, index) for index in range(len(plan.sites))))
    assert plan.placement is Placement.ORT
    assert set(placed.by_layer) == {"conv1", "left", "right", "end_point"}
    assert placed.by_layer["left"] == placed.by_layer["right"]
    assert [site.tensor for site, _ in placed.further] == ["e", "f", "h"]


@pytest.mark.parametrize("op", ["Concat <axis = 1>", "Mul", "Add"])
def test_operators_with_integer_kernels(op: str) -> None:
    channels = 8 if op.startswith("Concat") else 4
    graph = _graph(
        f"""
        a = Conv (image, left)
        b = Conv (image, right)
        c = {op} (a, b)
        d = Conv (c, last)
        e = GlobalAveragePool (d)
        f = Flatten (e)
        logits = Gemm <transB = 1> (f, fc)
        """,
        left=(4, 3, 3, 3),
        right=(4, 3, 3, 3),
        last=(4, channels, 1, 1),
        fc=(5, 4),
    )
    assert _tensors(_ort(graph)) == ["image", "a", "b", "c", "d", "e"]
