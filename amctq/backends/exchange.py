"""Where a live network computes its layers: the cell and the operator, so that the operator can be exchanged.

A layer's cell holds the operator that computes its product, such as ``self.conv2d`` of nn.Conv2d or ``self.matmul`` of
nn.Dense. If a cell takes the operator's place, the layer's own ``construct`` goes on as before: it pads, reshapes, adds
the bias and applies the activation. So no class of layers has to be known, and a subclass or a layer of the user's own
works too. One forward pass shows which operators compute which layers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.backends.replacement import Slot, replaced
from amctq.data.inputs import zeros
from amctq.graph.float_graph import FloatGraph
from amctq.quant.layers import QuantizableLayer

# The second operand of each is the weight.
_PRODUCTS = frozenset(
    {
        "Conv2D",
        "Conv3D",
        "Conv2DTranspose",
        "Conv2DBackpropInput",
        "Conv3DTranspose",
        "MatMul",
        "MatMulExt",
        "BatchMatMul",
        "Dense",
    }
)
_TOLERANCE = 1e-5  # of the largest weight
_HALF_TOLERANCE = 1e-2  # where the cell computes in float16


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerPlace:
    """Where a layer is computed.

    Attributes:
        operator: the attribute with the operator of its product.
        weight: its weight among the parameters of the same cell; None where the weight is computed from parameters.
        bias: its bias among the parameters of a cell; None without bias.
        norm: the attribute with the operator of its BatchNorm; None without BatchNorm.
    """

    operator: Slot
    weight: Slot | None
    bias: Slot | None
    norm: Slot | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Places:
    """Where the layers are computed, by name; and why others cannot be exchanged.

    A layer is in exactly one of the two.
    """

    found: Mapping[str, LayerPlace]
    missing: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Candidate:
    """A layer, the cell that owns its weight, and operators that may compute it."""

    layer: QuantizableLayer
    operators: tuple[Slot, ...]
    norms: tuple[Slot, ...]
    weight: Slot | None
    bias: Slot | None


@dataclass(kw_only=True, eq=False)
class _Calls:
    """What one operator was called with."""

    weights: list[Any] = field(default_factory=list)


def layer_places(cell: Any, graph: FloatGraph, layers: Iterable[QuantizableLayer]) -> Places:
    """Find where ``cell`` computes layers, from its attributes and from one forward pass in PyNative mode.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode.
        graph: the same network as ONNX.
        layers: layers of ``graph``.
    """
    parameters = _parameters(cell)
    candidates: list[_Candidate] = []
    missing: dict[str, str] = {}
    for layer in layers:
        candidate = _candidate(layer, parameters)
        if isinstance(candidate, str):
            missing[layer.name] = candidate
        else:
            candidates.append(candidate)
    calls = _calls(cell, graph, [slot for item in candidates for slot in (*item.operators, *item.norms)])
    found: dict[str, LayerPlace] = {}
    for candidate in candidates:
        place = _place(candidate, calls, graph)
        if isinstance(place, str):
            missing[candidate.layer.name] = place
        else:
            found[candidate.layer.name] = place
    return Places(found=found, missing=missing)


def _parameters(cell: Any) -> dict[str, Slot]:
    """By name of the parameter, the place that holds it."""
    return {
        parameter.name: Slot(part, key)
        for _, part in cell.cells_and_names()
        for key, parameter in part._params.items()
        if parameter is not None
    }


def _candidate(layer: QuantizableLayer, parameters: Mapping[str, Slot]) -> _Candidate | str:
    weight = parameters.get(layer.weight)
    # Of a computed weight, the layer has the name of the parameter that it comes from.
    source = weight or parameters.get(f"{layer.name}.weight") or parameters.get(layer.name)
    if source is None:
        return "its weight is no parameter of one layer"
    norms: tuple[Slot, ...] = ()
    if layer.batch_norm is not None:
        gamma = parameters.get(layer.batch_norm.gamma)
        norms = () if gamma is None else _operators(gamma.cell, {"BatchNorm"})
        if not norms:
            return "its BatchNorm is no nn.BatchNorm"
    operators = _operators(source.cell, _PRODUCTS)
    if not operators:
        return f"{type(source.cell).__name__} has no attribute with the operator of its product, such as ops.Conv2D"
    bias = None if layer.bias is None else parameters.get(layer.bias)
    return _Candidate(layer=layer, operators=operators, norms=norms, weight=weight, bias=bias)


def _operators(cell: Any, names: Iterable[str]) -> tuple[Slot, ...]:
    """The attributes of a cell with operators of these names."""
    from mindspore.ops import Primitive

    return tuple(
        Slot(cell, key) for key, value in vars(cell).items() if isinstance(value, Primitive) and value.name in names
    )


def _calls(cell: Any, graph: FloatGraph, slots: Iterable[Slot]) -> Mapping[tuple[int, str], _Calls]:
    """What one forward pass of one sample of zeros calls each operator with; by cell and attribute."""
    from amctq.inference.cell_session import CellSession

    calls: dict[tuple[int, str], _Calls] = {}
    probes: dict[Slot, Any] = {}
    for slot in slots:
        if slot.key not in calls:
            calls[slot.key] = _Calls()
            probes[slot] = _probe(slot.value, calls[slot.key])
    if probes:
        with _pynative(), replaced(cell, probes):
            CellSession(cell).run(zeros(graph.inputs, 1))
    return calls


def _probe(operator: Any, calls: _Calls) -> Any:
    """A cell that computes as the operator does, and keeps the second operand of every call."""
    from mindspore import nn

    class Probe(nn.Cell):  # type: ignore[misc]
        def construct(self, x: Any, weight: Any, *others: Any) -> Any:
            calls.weights.append(weight)
            return operator(x, weight, *others)

    return Probe(auto_prefix=False)


@contextlib.contextmanager
def _pynative() -> Iterator[None]:
    """Python runs every ``construct`` inside the block."""
    import mindspore

    mode = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    try:
        yield
    finally:
        mindspore.set_context(mode=mode)


def _place(candidate: _Candidate, calls: Mapping[tuple[int, str], _Calls], graph: FloatGraph) -> LayerPlace | str:
    layer = candidate.layer
    weight = graph.arrays[layer.weight]
    fitting = [slot for slot in candidate.operators if any(_same(one, weight) for one in calls[slot.key].weights)]
    owner = type(candidate.operators[0].cell).__name__
    if len(fitting) != 1:
        return f"no operator of {owner} gets just its weight"
    times = len(calls[fitting[0].key].weights)
    if times != 1:
        return f"{owner} calls the operator of its product {times} times"
    if layer.bias is not None and (candidate.bias is None or len(graph.consumers[layer.bias]) != 1):
        return "its bias is no parameter of this layer alone"
    norm = None
    if candidate.norms:
        called = [slot for slot in candidate.norms if calls[slot.key].weights]
        if len(called) != 1 or len(calls[called[0].key].weights) != 1:
            return "its BatchNorm is called more than once"
        norm = called[0]
    return LayerPlace(operator=fitting[0], weight=candidate.weight, bias=candidate.bias, norm=norm)


def _same(operand: Any, weight: NDArray[Any]) -> bool:
    """Whether an operator's operand is this weight, perhaps as float16."""
    import mindspore

    if tuple(operand.shape) != weight.shape:
        return False
    half = operand.dtype == mindspore.float16
    values = operand.astype(mindspore.float32).asnumpy()
    allowed = (_HALF_TOLERANCE if half else _TOLERANCE) * float(np.abs(weight).max(initial=0.0))
    return bool(np.abs(values - weight).max(initial=0.0) <= allowed)
