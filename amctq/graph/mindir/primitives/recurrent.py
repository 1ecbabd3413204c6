"""Recurrent layers. MindSpore writes nn.GRU and nn.RNN step by step; only LSTM has a primitive."""

from __future__ import annotations

import numpy as np

from amctq.graph.mindir.call import Call
from amctq.graph.mindir.registry import primitive
from amctq.graph.mindir.values import Size, Tensor, Type

# MindSpore's order of the gates is input, forget, cell, output; ONNX's is input, output, forget, cell.
_GATES = np.asarray([0, 3, 1, 2])


@primitive("LSTM")
def lstm(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    """``mindspore.ops.LSTM`` of one layer and direction: x (T, N, C), h and c (1, N, hidden), all weights in a row.

    The weights are those of the input, of the state, and one bias.
    """
    layers, both = int(call.attribute("num_layers", 1)), bool(call.attribute("bidirectional", False))
    if layers != 1 or both or int(call.attribute("proj_size", 0)):
        call.refuse("several layers, directions or a projection in one primitive", "use mindspore.nn.LSTM")
    x, state, cell, weights = (call.tensor(index) for index in range(4))
    hidden, features = int(call.attribute("hidden_size")), int(call.attribute("input_size"))
    flat = call.reshape(weights, (weights.shape[0],))
    ends = np.cumsum([0, 4 * hidden * features, 4 * hidden * hidden, 4 * hidden])
    inputs: list[Tensor | str] = [
        x,
        _gates(call, flat, int(ends[0]), int(ends[1]), (4, hidden, features), (1, 4 * hidden, features)),
        _gates(call, flat, int(ends[1]), int(ends[2]), (4, hidden, hidden), (1, 4 * hidden, hidden)),
    ]
    if call.attribute("has_bias", True):
        bias = _gates(call, flat, int(ends[2]), int(ends[3]), (4, hidden), (1, 4 * hidden))
        none = call.as_tensor(np.zeros((1, 4 * hidden), np.float32))  # ONNX has a second one, for the state
        inputs.append(call.emit("Concat", [bias, none], Type(x.dtype, (1, 8 * hidden)), axis=1))
    else:
        inputs.append("")
    kinds = [
        Type(x.dtype, (x.shape[0], 1, x.shape[1], hidden)),
        *(Type(x.dtype, (1, x.shape[1], hidden)) for _ in range(2)),
    ]
    rows, last, last_cell = call.emit_several("LSTM", [*inputs, "", state, cell], kinds, hidden_size=hidden)
    return call.reshape(rows, (x.shape[0], x.shape[1], hidden)), last, last_cell


def _gates(call: Call, flat: Tensor, begin: int, end: int, parts: tuple[Size, ...], shape: tuple[Size, ...]) -> Tensor:
    """A part of the weights, its gates in ONNX's order."""
    bounds = [call.graph.ints([bound]) for bound in (begin, end)]
    part = call.reshape(call.emit("Slice", [flat, *bounds], Type(flat.dtype, (end - begin,))), parts)
    ordered = call.emit("Gather", [part, call.graph.constant(_GATES)], Type(flat.dtype, parts), axis=0)
    return call.reshape(ordered, shape)
