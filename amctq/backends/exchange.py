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
        shares_weight: something else reads the weight too, so that its values must stay where they are.
        bias: its bias among the parameters of a cell; None without bias.
        norm: the attribute with the operator of its BatchNorm; None without BatchNorm.
    """

    operator: Slot
    weight: Slot | None
    shares_weight: bool
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
    """A layer, the places that hold its parameters, and operators that may compute it."""

    layer: QuantizableLayer
    operators: tuple[Slot, ...]
    norms: tuple[Slot, ...]
    weights: tuple[Slot, ...]
    biases: tuple[Slot, ...]


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
    parameters, names = _parameters(cell), {id(part): name for name, part in cell.cells_and_names()}
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
        place = _place(candidate, calls, graph, names)
        if isinstance(place, str):
            missing[candidate.layer.name] = place
        else:
            found[candidate.layer.name] = place
    return Places(found=found, missing=missing)


def _parameters(cell: Any) -> dict[str, tuple[Slot, ...]]:
    """By name of the parameter, the places that hold it: several where layers share it."""
    found: dict[str, tuple[Slot, ...]] = {}
    for _, part in cell.cells_and_names():
        for key, parameter in part._params.items():
            if parameter is not None:
                found[parameter.name] = (*found.get(parameter.name, ()), Slot(part, key))
    return found


def _candidate(layer: QuantizableLayer, parameters: Mapping[str, tuple[Slot, ...]]) -> _Candidate | str:
    weights = parameters.get(layer.weight, ())
    # Of a computed weight, the layer has the name of the parameter that it comes from.
    sources = weights or parameters.get(f"{layer.name}.weight") or parameters.get(layer.name)
    if not sources:
        return "its weight is no parameter of one layer"
    norms: tuple[Slot, ...] = ()
    if layer.batch_norm is not None:
        norms = _operators(parameters.get(layer.batch_norm.gamma, ()), {"BatchNorm"})
        if not norms:
            return "its BatchNorm is no nn.BatchNorm"
    operators = _operators(sources, _PRODUCTS)
    if not operators:
        owner = type(sources[0].cell).__name__
        return f"{owner} has no attribute with the operator of its product, such as ops.Conv2D"
    biases = () if layer.bias is None else parameters.get(layer.bias, ())
    return _Candidate(layer=layer, operators=operators, norms=norms, weights=weights, biases=biases)


def _operators(parameters: Iterable[Slot], names: Iterable[str]) -> tuple[Slot, ...]:
    """The attributes with operators of these names, in the cells that hold a parameter."""
    from mindspore.ops import Primitive

    cells = {id(slot.cell): slot.cell for slot in parameters}
    return tuple(
        Slot(cell, key)
        for cell in cells.values()
        for key, value in vars(cell).items()
        if isinstance(value, Primitive) and value.name in names
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


def _place(
    candidate: _Candidate, calls: Mapping[tuple[int, str], _Calls], graph: FloatGraph, names: Mapping[int, str]
) -> LayerPlace | str:
    layer = candidate.layer
    weight = graph.arrays[layer.weight]
    fitting = [slot for slot in candidate.operators if any(_same(one, weight) for one in calls[slot.key].weights)]
    owner = type(candidate.operators[0].cell).__name__
    for slot in fitting:
        times = len(calls[slot.key].weights)
        if times != 1:
            return f"{owner} calls the operator of its product {times} times"
    products = [node for node in graph.consumers[layer.weight] if layer.weight in node.input[1:2]]
    if len(products) > 1:
        fitting = _of_one_product(layer, [_cell_of(node.name) for node in products], fitting, names)
        if not fitting:
            return f"{len(products)} products read its weight, and no operator of {owner} computes just this one"
    if len(fitting) != 1:
        return f"no operator of {owner} gets just its weight"
    (operator,) = fitting
    if layer.bias is not None and (len(candidate.biases) != 1 or len(graph.consumers[layer.bias]) != 1):
        return "its bias is no parameter of this layer alone"
    norm = None
    if candidate.norms:
        called = [slot for slot in candidate.norms if calls[slot.key].weights]
        if len(called) != 1 or len(calls[called[0].key].weights) != 1:
            return "its BatchNorm is called more than once"
        norm = called[0]
    return LayerPlace(
        operator=operator,
        weight=next((slot for slot in candidate.weights if slot.cell is operator.cell), None),
        shares_weight=len(candidate.weights) > 1 or len(graph.consumers[layer.weight]) > 1,
        bias=candidate.biases[0] if candidate.biases else None,
        norm=norm,
    )


def _of_one_product(
    layer: QuantizableLayer, products: list[str], fitting: list[Slot], names: Mapping[int, str]
) -> list[Slot]:
    """The operator of a layer whose weight several products read; none where it cannot be told from others.

    Args:
        layer: the layer.
        products: of each product, the cell that computes it.
        fitting: the operators that get the weight.
        names: of the cells.
    """
    own, of_fitting = _cell_of(layer.node), [names[id(slot.cell)] for slot in fitting]
    # MindSpore computes equal products once. Then a cell gets the weight in which the graph has no product.
    if products.count(own) != 1 or any(name not in products for name in of_fitting):
        return []
    return [slot for slot, name in zip(fitting, of_fitting, strict=True) if name == own]


def _cell_of(node: str) -> str:
    """``layer1.conv`` of the node ``layer1.conv.Conv2D``."""
    return node.rpartition(".")[0]


def _same(operand: Any, weight: NDArray[Any]) -> bool:
    """Whether an operator's operand is this weight, perhaps as float16."""
    import mindspore

    if tuple(operand.shape) != weight.shape:
        return False
    half = operand.dtype == mindspore.float16
    values = operand.astype(mindspore.float32).asnumpy()
    allowed = (_HALF_TOLERANCE if half else _TOLERANCE) * float(np.abs(weight).max(initial=0.0))
    return bool(np.abs(values - weight).max(initial=0.0) <= allowed)
