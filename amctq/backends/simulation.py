"""The engine's own fake-quant forward: the quantized network run by MindSpore's operators instead of onnxruntime.

No surgery on the network: weights, and the biases that stand in front of or inside a BatchNorm, are replaced by what
the integers stand for, and a hook on every quantized cell quantizes and dequantizes its input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from amctq.errors import NotSimulatedError
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.topology import FloatGraph


@contextlib.contextmanager
def fake_quantized(cell: Any, graph: FloatGraph, layers: tuple[IntegerLayer, ...]) -> Iterator[Any]:
    """Make ``cell`` compute the quantized network inside the block; it is as before afterwards.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode, that ``graph`` was exported from. PyNative mode.
        graph: the float network.
        layers: its quantized layers.

    Raises:
        NotSimulatedError: a layer is no nn.Conv2d or nn.Dense.
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
            hooks.append(owners[item.layer.weight][0].register_forward_pre_hook(_quantizer(item.activation)))
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


def _quantizer(qparams: QParams) -> Any:
    """A hook that puts a cell's input onto its grid: clip(rint(x / s), -128 - o, 127 - o) × s."""
    from mindspore import ops

    scale = float(np.float32(qparams.scale))
    low, high = float(-128 - qparams.offset), float(127 - qparams.offset)

    def quantize(cell: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        del cell
        x, *rest = inputs
        return (ops.clamp(ops.round(x / scale), low, high) * scale, *rest)

    return quantize


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
