"""The simulation: the quantized network, computed by MindSpore's operators.

Inside a block, every quantized nn.Conv2d and nn.Dense of the live network is replaced by a quantized cell, and a folded
BatchNorm by an identity. The simulation is compared with the exported ONNX file, and MindIR is exported from it. With
placement ``ort``, other operators than layers read quantized tensors too; then the cell that makes the tensor quantizes
it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from amctq.backends.replacement import replaceable_cells, replaced
from amctq.choices import Placement
from amctq.errors import NoSimulationError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import LayerKind
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
        NoSimulationError: a layer is no nn.Conv2d or nn.Dense, its BatchNorm no nn.BatchNorm2d, or a quantized tensor
            comes from no cell.
    """
    from mindspore import nn

    from amctq.backends.cells import FakeQuantize, QuantizedConv2d, QuantizedDense

    _refuse_other_arithmetic(graph, activations)
    cells = replaceable_cells(cell, [item.layer for item in layers])
    pending = _read_by_others(graph, layers, activations)
    substitutes: dict[int, Any] = {}
    for item in layers:
        own, norm = cells[item.layer.name]
        substitute = QuantizedConv2d if item.layer.kind is LayerKind.CONV else QuantizedDense
        substitutes[id(own)] = substitute(own, item)
        output = pending.pop(item.layer.output, None)
        if norm is not None:
            substitutes[id(norm)] = nn.Identity() if output is None else FakeQuantize(output)
        elif output is not None:
            substitutes[id(own)] = nn.SequentialCell(substitutes[id(own)], FakeQuantize(output))
    with replaced(cell, substitutes), _quantizing_relus(cell, graph, pending):
        yield cell


def _refuse_other_arithmetic(graph: FloatGraph, activations: PlacedActivations) -> None:
    """Refuse layers and operators that the file computes in another way than these cells.

    Raises:
        NoSimulationError: there are such layers or operators.
    """
    plan = activations.plan
    others = [layer.name for layer in plan.float_layers]
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


@contextlib.contextmanager
def _quantizing_relus(cell: Any, graph: FloatGraph, pending: Mapping[str, QParams]) -> Iterator[None]:
    """Let ReLUs quantize their output: the k-th call of an nn.ReLU is the k-th Relu node of the graph.

    This uses hooks, because a network may call one cell in several places. Hooks work only in PyNative mode.

    Raises:
        NoSimulationError: a tensor of ``pending`` comes from no ReLU, or the numbers of calls and of nodes differ.
    """
    from mindspore import nn

    from amctq.backends.cells import FakeQuantize

    outputs = [node.output[0] for node in graph.model.graph.node if node.op_type == "Relu"]
    for tensor in pending:
        if tensor not in outputs:
            message = f"the quantized tensor {tensor} is made by no layer and no nn.ReLU"
            raise NoSimulationError(message)
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
