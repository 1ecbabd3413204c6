"""The simulation: the quantized network, computed by MindSpore's operators.

Inside a block, a quantized cell takes the place of the operator of every quantized layer of the live network, and a
folded BatchNorm passes its input on. The simulation is compared with the exported ONNX file, and MindIR is exported
from it. With placement ``ort``, other operators than layers read quantized tensors too; then the cell that makes the
tensor quantizes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from amctq.backends.exchange import layer_places
from amctq.backends.replacement import Slot, replaced
from amctq.choices import Placement
from amctq.errors import NoSimulationError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import QParams


@contextlib.contextmanager
def simulate(
    cell: Any, graph: FloatGraph, layers: tuple[IntegerLayer, ...], activations: PlacedActivations
) -> Iterator[Any]:
    """Make ``cell`` compute the quantized network inside the block. After the block it is the float network again.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode.
        graph: the same network as ONNX.
        layers: its quantized layers.
        activations: which tensors are quantized, and how.

    Raises:
        NoSimulationError: the operator of a layer or of its BatchNorm cannot be exchanged, or a quantized tensor comes
            from no layer and no nn.ReLU.
    """
    from amctq.backends.cells import quantized_layer

    _refuse_other_arithmetic(graph, activations)
    pending = _read_by_others(graph, layers, activations)
    outputs = {item.layer.output for item in layers}
    _check_relus(graph, [tensor for tensor in pending if tensor not in outputs])
    places = layer_places(cell, graph, (item.layer for item in layers))
    for name, reason in places.missing.items():
        message = f"{name}: {reason}"
        raise NoSimulationError(message)
    substitutes: dict[Slot, Any] = {}
    for item in layers:
        output = pending.pop(item.layer.output, None)
        substitutes |= quantized_layer(item, places.found[item.layer.name], output)
    with replaced(cell, substitutes), _quantizing_relus(cell, graph, pending):
        yield cell


def _refuse_other_arithmetic(graph: FloatGraph, activations: PlacedActivations) -> None:
    """Refuse layers and operators that the file computes in another way than these cells.

    Raises:
        NoSimulationError: there are such layers or operators.
    """
    plan = activations.plan
    others = [layer.name for layer in plan.float_layers]
    others += [pool.name for pool in plan.pools]
    others += [
        node.name for node in graph.model.graph.node if node.name in plan.integers and node.op_type == "HardSwish"
    ]
    if others:
        message = f"the cells do not compute {others[0]} as the file does"
        raise NoSimulationError(message)


def _read_by_others(
    graph: FloatGraph, layers: tuple[IntegerLayer, ...], activations: PlacedActivations
) -> dict[str, QParams]:
    """The quantized tensors that others than layers read too. Layers quantize their input themselves."""
    plan = activations.plan
    if plan.placement is not Placement.ORT:
        return {}
    own = {item.layer.node for item in layers}

    def by_others(tensor: str, *, only_integers: bool) -> bool:
        for node in graph.consumers.get(tensor, ()):
            if node.name in plan.moves:
                if any(by_others(name, only_integers=only_integers) for name in node.output):
                    return True
            elif node.name in plan.integers or not (only_integers or node.name in own):
                return True
        return False

    pairs = zip(plan.sites, activations.qparams, strict=True)
    return {
        site.tensor: qparams
        for site, qparams in pairs
        if site.written and by_others(site.tensor, only_integers=site.only_integers)
    }


def _relus(graph: FloatGraph) -> list[str]:
    return [node.output[0] for node in graph.model.graph.node if node.op_type == "Relu"]


def _check_relus(graph: FloatGraph, tensors: Collection[str]) -> None:
    """Make sure that ReLUs make these tensors.

    Raises:
        NoSimulationError: one of them comes from no ReLU.
    """
    relus = _relus(graph)
    for tensor in tensors:
        if tensor not in relus:
            message = f"the quantized tensor {tensor} is made by no layer and no nn.ReLU"
            raise NoSimulationError(message)


@contextlib.contextmanager
def _quantizing_relus(cell: Any, graph: FloatGraph, pending: Mapping[str, QParams]) -> Iterator[None]:
    """Let ReLUs quantize their output: the k-th call of an nn.ReLU is the k-th Relu node of the graph.

    This uses hooks, because a network may call one cell in several places. Hooks work only in PyNative mode.

    Raises:
        NoSimulationError: the numbers of calls and of nodes differ.
    """
    from mindspore import nn

    from amctq.backends.cells import FakeQuantize

    outputs = _relus(graph)
    quantizers = {outputs.index(tensor): FakeQuantize(qparams) for tensor, qparams in pending.items()}
    calls = 0

    def start(_cell: Any, _inputs: Any) -> None:
        nonlocal calls
        calls = 0

    def relu(_cell: Any, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        quantize = quantizers.get(calls - 1)
        return output if quantize is None else quantize(output)

    def end(_cell: Any, _inputs: Any, _output: Any) -> None:
        if calls != len(outputs):
            message = f"nn.ReLU is called {calls} times, and the graph has {len(outputs)} Relu nodes"
            raise NoSimulationError(message)

    hooks = []
    if quantizers:
        hooks = [cell.register_forward_pre_hook(start), cell.register_forward_hook(end)]
        relus = [part for _, part in cell.cells_and_names() if isinstance(part, nn.ReLU)]
        hooks += [part.register_forward_hook(relu) for part in relus]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
