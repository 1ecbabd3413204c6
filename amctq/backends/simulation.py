"""The engine's own quantized network: MindSpore's operators in the float network's place.

Inside a block, every quantized nn.Conv2d and nn.Dense of the live network is replaced by a quantized cell, and the
BatchNorm that is folded into it by an identity. What runs there is compared with the exported ONNX file, and it is
what MindIR is exported from. Where placement ``ort`` lets something else than a layer read a quantized tensor, the cell
that makes the tensor quantizes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from amctq.backends.replacement import replaceable_cells, replaced
from amctq.choices import Placement
from amctq.errors import NotSimulatedError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import LayerKind
from amctq.quant.numerics import QParams


@contextlib.contextmanager
def fake_quantized(
    cell: Any, graph: FloatGraph, layers: tuple[IntegerLayer, ...], activations: PlacedActivations
) -> Iterator[Any]:
    """Make ``cell`` compute the quantized network inside the block; it is as before afterwards.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode.
        graph: the same network as ONNX.
        layers: its quantized layers.
        activations: which tensors are quantized, and how.

    Raises:
        NotSimulatedError: a layer is no nn.Conv2d or nn.Dense, its BatchNorm no nn.BatchNorm2d, or a quantized tensor
            is made by no cell.
    """
    from mindspore import nn

    from amctq.backends.cells import FakeQuantize, QuantizedConv2d, QuantizedDense

    cells = replaceable_cells(cell, [item.layer for item in layers])
    made = _read_by_others(graph, layers, activations)
    substitutes: dict[int, Any] = {}
    for item in layers:
        own, norm = cells[item.layer.name]
        substitute = QuantizedConv2d if item.layer.kind is LayerKind.CONV else QuantizedDense
        substitutes[id(own)] = substitute(own, item)
        behind = made.pop(item.layer.output, None)
        if norm is not None:
            substitutes[id(norm)] = nn.Identity() if behind is None else FakeQuantize(behind)
        elif behind is not None:
            substitutes[id(own)] = nn.SequentialCell(substitutes[id(own)], FakeQuantize(behind))
    with replaced(cell, substitutes), _relus_quantizing(cell, graph, made):
        yield cell


def _read_by_others(
    graph: FloatGraph, layers: tuple[IntegerLayer, ...], activations: PlacedActivations
) -> dict[str, QParams]:
    """The tensors that more than layers read as integers, which quantize their input themselves."""
    plan = activations.plan
    if plan.placement is not Placement.ORT:
        return {}
    own = {item.layer.node for item in layers}

    def by_others(tensor: str) -> bool:
        return any(
            by_others(node.output[0]) if node.name in plan.moves else node.name not in own
            for node in graph.consumers.get(tensor, ())
        )

    pairs = zip(plan.sites, activations.qparams, strict=True)
    return {site.tensor: qparams for site, qparams in pairs if by_others(site.tensor)}


@contextlib.contextmanager
def _relus_quantizing(cell: Any, graph: FloatGraph, made: Mapping[str, QParams]) -> Iterator[None]:
    """Let ReLUs quantize what they give: the k-th call of a nn.ReLU is the k-th Relu of the graph.

    Hooks, because a network may call one cell in several places. They work in PyNative mode alone.

    Raises:
        NotSimulatedError: a tensor of ``made`` is given by no ReLU, or as many are not called as the graph has.
    """
    from mindspore import nn

    from amctq.backends.cells import FakeQuantize

    outputs = [node.output[0] for node in graph.model.graph.node if node.op_type == "Relu"]
    for tensor in made:
        if tensor not in outputs:
            message = f"the quantized tensor {tensor} is made by no layer and no nn.ReLU"
            raise NotSimulatedError(message)
    quantizers = {outputs.index(tensor): FakeQuantize(qparams) for tensor, qparams in made.items()}
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
            raise NotSimulatedError(message)

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
