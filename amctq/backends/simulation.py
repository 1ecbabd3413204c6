"""The engine's own fake-quant forward: the quantized network run by MindSpore's operators instead of onnxruntime.

No surgery on the network: weights, and the biases that stand in front of or inside a BatchNorm, are replaced by what
the integers stand for, and a hook on every quantized cell quantizes and dequantizes its input. Where placement ``ort``
lets something else than a layer read a quantized tensor, a hook on the cell that makes the tensor does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from amctq.choices import Placement
from amctq.errors import NotSimulatedError
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.placement import PlacedActivations
from amctq.quant.topology import FloatGraph, QuantizableLayer


@contextlib.contextmanager
def fake_quantized(
    cell: Any, graph: FloatGraph, layers: tuple[IntegerLayer, ...], activations: PlacedActivations
) -> Iterator[Any]:
    """Make ``cell`` compute the quantized network inside the block; it is as before afterwards.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode, that ``graph`` was exported from. PyNative mode.
        graph: the float network.
        layers: its quantized layers.
        activations: which tensors are quantized, and how.

    Raises:
        NotSimulatedError: a layer is no nn.Conv2d or nn.Dense, or a quantized tensor is made by no cell.
    """
    owners = _owners(cell)
    before: list[tuple[Any, Float32Array]] = []
    hooks: list[Any] = []
    try:
        for item in layers:
            _refuse_other_cells(item, owners)
            for name, value in _replacements(graph, item).items():
                parameter = _parameter(owners, name)
                before.append((parameter, parameter.asnumpy().copy()))
                _assign(parameter, value)
            quantize = _quantizer(item.activation)
            hooks.append(owners[item.layer.weight][0].register_forward_pre_hook(_on_input(quantize)))
        if activations.plan.placement is Placement.ORT:
            hooks += _hooks_on_makers(cell, graph, [item.layer for item in layers], activations, owners)
        yield cell
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, value in reversed(before):
            _assign(parameter, value)


def _owners(cell: Any) -> dict[str, tuple[Any, Any]]:
    """The cell that owns each parameter, and the parameter, by the parameter's name."""
    return {
        parameter.name: (part, parameter)
        for _, part in cell.cells_and_names()
        for parameter in part.parameters_dict(recurse=False).values()
    }


def _refuse_other_cells(item: IntegerLayer, owners: Mapping[str, tuple[Any, Any]]) -> None:
    """A hook on a cell quantizes the cell's input, which is the layer's for nn.Conv2d and nn.Dense alone."""
    from mindspore import nn

    owner = owners.get(item.layer.weight, (None, None))[0]
    if not isinstance(owner, (nn.Conv2d, nn.Dense)):
        message = f"{item.layer.weight} belongs to no nn.Conv2d or nn.Dense"
        raise NotSimulatedError(message)


def _parameter(owners: Mapping[str, tuple[Any, Any]], name: str) -> Any:
    if name not in owners:
        message = f"{name} is no parameter of a cell"
        raise NotSimulatedError(message)
    return owners[name][1]


def _assign(parameter: Any, value: Float32Array) -> None:
    import mindspore

    parameter.set_data(mindspore.Tensor(value))


def _quantizer(qparams: QParams) -> Callable[[Any], Any]:
    """Puts a tensor onto its grid: clip(rint(x / s), -128 - o, 127 - o) × s."""
    from mindspore import ops

    scale = float(np.float32(qparams.scale))
    low, high = float(-128 - qparams.offset), float(127 - qparams.offset)

    def quantize(x: Any) -> Any:
        return ops.clamp(ops.round(x / scale), low, high) * scale

    return quantize


def _on_input(quantize: Callable[[Any], Any]) -> Any:
    def hook(cell: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        del cell
        x, *rest = inputs
        return (quantize(x), *rest)

    return hook


def _hooks_on_makers(
    cell: Any,
    graph: FloatGraph,
    layers: list[QuantizableLayer],
    activations: PlacedActivations,
    owners: Mapping[str, tuple[Any, Any]],
) -> list[Any]:
    """Quantize what is read by more than layers, where it is made: behind a layer, or behind a ReLU."""
    made_by_layer = {layer.output: layer for layer in layers}
    relus = [node.output[0] for node in graph.model.graph.node if node.op_type == "Relu"]
    by_relu: dict[int, Callable[[Any], Any]] = {}
    hooks = []
    for site, qparams in zip(activations.plan.sites, activations.qparams, strict=True):
        if not _read_by_others(site.tensor, graph, layers, activations.plan.moves):
            continue
        quantize = _quantizer(qparams)
        if site.tensor in made_by_layer:
            layer = made_by_layer[site.tensor]
            maker = _maker(owners, layer)
            hooks.append(
                maker.register_forward_hook(lambda _cell, _inputs, output, quantize=quantize: quantize(output))
            )
        elif site.tensor in relus:
            by_relu[relus.index(site.tensor)] = quantize
        elif site.tensor != graph.input_name:
            message = f"what follows {site.like} is made by no layer and no nn.ReLU"
            raise NotSimulatedError(message)
    return hooks + (_hooks_on_relus(cell, len(relus), by_relu) if by_relu else [])


def _read_by_others(tensor: str, graph: FloatGraph, layers: list[QuantizableLayer], moves: frozenset[str]) -> bool:
    own = {layer.node for layer in layers}
    readers = graph.consumers.get(tensor, ())
    return any(
        _read_by_others(node.output[0], graph, layers, moves) if node.name in moves else node.name not in own
        for node in readers
    )


def _maker(owners: Mapping[str, tuple[Any, Any]], layer: QuantizableLayer) -> Any:
    """The cell that yields a layer's output: its BatchNorm, or itself."""
    return owners[layer.weight if layer.batch_norm is None else layer.batch_norm.gamma][0]


def _hooks_on_relus(cell: Any, expected: int, by_call: Mapping[int, Callable[[Any], Any]]) -> list[Any]:
    """The k-th call of a nn.ReLU is the k-th Relu of the graph, provided that there are as many."""
    from mindspore import nn

    calls = 0

    def start(_cell: Any, _inputs: Any) -> None:
        nonlocal calls
        calls = 0

    def relu(_cell: Any, _inputs: Any, output: Any) -> Any:
        nonlocal calls
        quantize = by_call.get(calls)
        calls += 1
        return output if quantize is None else quantize(output)

    def end(_cell: Any, _inputs: Any, _output: Any) -> None:
        if calls != expected:
            message = f"{calls} calls of nn.ReLU stand for {expected} Relu nodes"
            raise NotSimulatedError(message)

    relus = [part for _, part in cell.cells_and_names() if isinstance(part, nn.ReLU)]
    return [
        cell.register_forward_pre_hook(start),
        cell.register_forward_hook(end),
        *(part.register_forward_hook(relu) for part in relus),
    ]


def _replacements(graph: FloatGraph, item: IntegerLayer) -> dict[str, Float32Array]:
    """New values, by parameter name, that make a layer with its BatchNorm compute the integers' numbers."""
    layer, norm = item.layer, item.layer.batch_norm
    weight = item.weight.dequantized().astype(np.float64)
    bias = None if item.bias is None else item.bias * item.bias_scale.astype(np.float64)
    if norm is None:
        changed: dict[str, Any] = {layer.weight: weight}
        if layer.bias is not None and bias is not None:
            changed[layer.bias] = bias
        return {name: value.astype(np.float32) for name, value in changed.items()}
    gamma, mean, variance = (graph.arrays[name].astype(np.float64) for name in (norm.gamma, norm.mean, norm.variance))
    factor = gamma / np.sqrt(variance + norm.epsilon)
    # Where the BatchNorm multiplies by 0 the weight does not matter, and is left.
    alive = factor != 0
    original = graph.arrays[layer.weight].astype(np.float64)
    columns = (-1, *(1,) * (weight.ndim - 1))
    safe = np.where(alive, factor, 1.0).reshape(columns)
    unfolded = np.where(alive.reshape(columns), weight / safe, original)
    assert bias is not None
    inner = 0.0 if layer.bias is None else graph.arrays[layer.bias].astype(np.float64)
    # The BatchNorm adds beta - (mean - inner) × factor, which shall be the rounded bias.
    changed = {layer.weight: unfolded, norm.beta: bias + (mean - inner) * factor}
    return {name: value.astype(np.float32) for name, value in changed.items()}
