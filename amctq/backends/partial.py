"""A quantized network of which only some layers are quantized, on the scales of one calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from amctq.choices import Placement
from amctq.errors import InputError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.integer_operators import is_clip
from amctq.graph.placement import PlacedActivations, PlacementPlan, placed_ascend
from amctq.graph.placement_ort import place_ort

if TYPE_CHECKING:
    from amctq.graph.qdq_rules import QdqRules
    from amctq.quant.layers import Topology
    from amctq.quant.numerics import QParams


def placed_part(
    graph: FloatGraph, topology: Topology, whole: PlacedActivations, *, rules: QdqRules, attention: bool
) -> PlacedActivations:
    """Place the activations of some layers as if only these were quantized, with the known scales.

    Args:
        graph: the float network.
        topology: the layers that stay quantized.
        whole: of the network with all layers quantized.
        rules: of the runtime, by which ``whole`` was placed.
        attention: products of two activations stay quantized where ``whole`` has them.

    Raises:
        InputError: a tensor is quantized that ``whole`` leaves in float.
    """
    if whole.plan.placement is Placement.ASCEND:
        known = whole.by_layer
        names = {layer.name for layer in topology.layers} | {pool.name for pool in topology.pools}
        return placed_ascend(topology, {name: qparams for name, qparams in known.items() if name in names})
    if not topology.layers:
        return PlacedActivations(plan=PlacementPlan(placement=Placement.ORT, sites=()), qparams=())
    plan = place_ort(
        graph,
        topology,
        rules=rules,
        attention=attention and any(site.symmetric for site in whole.plan.sites),
        in_float=_computed_in_float(graph, whole.plan),
    )
    scales = _known_scales(graph, whole, plan.moves)
    for site in plan.sites:
        if site.tensor not in scales:
            message = f"{site.tensor} is quantized only where {', '.join(layer.name for layer in topology.layers)} is"
            raise InputError(message, hint="its scale is not known: please report this with the network")
    return PlacedActivations(plan=plan, qparams=tuple(scales[site.tensor] for site in plan.sites))


def _known_scales(graph: FloatGraph, whole: PlacedActivations, moves: Collection[str]) -> Mapping[str, QParams]:
    """By tensor, scale and offset of its integers: those of the sites, and of what only moves or cuts their values.

    Args:
        graph: the float network.
        whole: the quantized tensors.
        moves: names of the nodes that another plan moves integers with.
    """
    known = {site.tensor: item for site, item in zip(whole.plan.sites, whole.qparams, strict=True)}
    for node in graph.model.graph.node:
        if node.name in whole.plan.moves and node.input[0] in known:
            known |= {name: known[node.input[0]] for name in node.output if name not in known}
    for node in reversed(graph.model.graph.node):
        # Where another plan quantizes what is cut off or moved here, the other values are not needed.
        same = node.name in moves or is_clip(node, graph)
        if same and node.input[0] not in known and node.output[0] in known:
            known[node.input[0]] = known[node.output[0]]
    return known


def _computed_in_float(graph: FloatGraph, plan: PlacementPlan) -> Collection[str]:
    return {str(node.name) for node in graph.model.graph.node} - plan.integers
