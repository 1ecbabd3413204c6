"""Placement: which tensors of activations are quantized.

``ascend``: the inputs of Conv2d and Dense, as in AMCT; everything between layers stays in float. ``ort``: every tensor
between integer operators (placement_ort.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from amctq.choices import Placement
from amctq.graph.value_bounds import UNBOUNDED, Bounds
from amctq.quant.integer import IntegerPool
from amctq.quant.layers import FloatLayer, PoolLayer, QuantizableLayer, Topology
from amctq.quant.numerics import QParams


@dataclass(frozen=True, kw_only=True)
class Site:
    """A quantized tensor.

    Attributes:
        tensor: its name in the float graph.
        watched: the tensor that is observed. It is ``tensor``, or its copy after nodes such as MaxPool where a layer
            reads that copy: fewer and larger values remain after a MaxPool.
        layers: names of the layers that read it, directly or after such nodes; with placement ``ascend`` also of the
            means over windows.
        like: the layer whose configuration chooses the observer.
        bounds: the lowest and the highest possible value; the range does not reach beyond them.
        only_integers: an operator in float yields the tensor, and others in float read it as it is; only what computes
            in integers reads the quantized tensor. Otherwise all readers do.
        symmetric: zero point 0 (128 as uint8), whatever the layer's configuration says.
        written: False where only layers that are computed in float read the tensor, so that nothing quantizes it.
    """

    tensor: str
    watched: str
    layers: tuple[str, ...]
    like: str
    bounds: Bounds = UNBOUNDED
    only_integers: bool = False
    symmetric: bool = False
    written: bool = True


@dataclass(frozen=True, kw_only=True)
class PlacementPlan:
    """All quantized tensors of a network.

    Attributes:
        placement: the rule that chose them.
        sites: the tensors, in the order of execution.
        moves: names of the nodes that move integers without computing.
        integers: names of the nodes that compute in integers, besides the layers.
        before_quantizers: names of the nodes in float that read tensors as they are before their quantizers, even where
            an integer kernel yields them.
        float_layers: layers with integer weights that are computed in float, with the reason.
        pools: with placement ``ascend``, the means over windows that read a quantized tensor.
    """

    placement: Placement
    sites: tuple[Site, ...]
    moves: frozenset[str] = frozenset()
    integers: frozenset[str] = frozenset()
    before_quantizers: frozenset[str] = frozenset()
    float_layers: tuple[FloatLayer, ...] = ()
    pools: tuple[PoolLayer, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlacedActivations:
    """A plan with scales and zero points: ``qparams[i]`` belongs to ``plan.sites[i]``."""

    plan: PlacementPlan
    qparams: tuple[QParams, ...]

    @property
    def by_layer(self) -> dict[str, QParams]:
        """By layer, scale and offset of its input."""
        pairs = zip(self.plan.sites, self.qparams, strict=True)
        return {name: qparams for site, qparams in pairs for name in site.layers}

    @property
    def pools(self) -> tuple[IntegerPool, ...]:
        """The means over windows of integers; nothing with placement ``ort``."""
        by_layer = self.by_layer
        return tuple(IntegerPool(layer=pool, activation=by_layer[pool.name]) for pool in self.plan.pools)

    @property
    def further(self) -> tuple[tuple[Site, QParams], ...]:
        """The sites that no layer reads, so that AMCT's record cannot hold them."""
        return tuple(pair for pair in zip(self.plan.sites, self.qparams, strict=True) if not pair[0].layers)


def place_ascend(topology: Topology, alike: Mapping[str, Hashable]) -> PlacementPlan:
    """Placement ``ascend``: one site for each layer's input; layers that read the same tensor share it.

    Args:
        topology: the layers that are quantized; means over windows are where ``alike`` has them.
        alike: by the name of each, a value that must be equal for them to share a site: its configuration, or scale
            and offset.
    """
    readers: dict[tuple[str, Hashable], list[str]] = {}
    pools = tuple(pool for pool in topology.pools if pool.name in alike)
    both: list[QuantizableLayer | PoolLayer] = [*topology.layers, *pools]
    for layer in both:
        readers.setdefault((layer.input, alike[layer.name]), []).append(layer.name)
    return PlacementPlan(
        placement=Placement.ASCEND,
        sites=tuple(
            Site(tensor=tensor, watched=tensor, layers=tuple(names), like=names[0])
            for (tensor, _), names in readers.items()
        ),
        pools=pools,
    )


def placed_ascend(topology: Topology, activations: Mapping[str, QParams]) -> PlacedActivations:
    """Placement ``ascend`` with scale and offset of every layer's input, by layer, as a record has them."""
    plan = place_ascend(topology, activations)
    return PlacedActivations(plan=plan, qparams=tuple(activations[site.like] for site in plan.sites))
