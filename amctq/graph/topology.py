"""Finding the layers to quantize in the float graph.

The graph describes the network completely, however its Python code is written: the initializers have the parameters'
names, and the edges show which BatchNorm follows which convolution and which layers share an input. Every convolution
and every product with a constant matrix is a layer, however its weight comes from the parameters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container

import onnx

from amctq.errors import InputError
from amctq.graph.embeddings import read_embeddings
from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.quant.folding import FusedParameters, fold
from amctq.quant.layers import BatchNorm, FloatLayer, LayerKind, PoolLayer, QuantizableLayer, Topology
from amctq.quant.pair_sums import is_depthwise

_CONVOLUTIONS = {3: LayerKind.CONV1D, 4: LayerKind.CONV, 5: LayerKind.CONV3D}
PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
# Operators with weights that stay in float, and why.
_FLOAT_PRODUCTS = {
    "Einsum": "an einsum, which has no integer kernel: write it with matrix products",
    "LSTM": "a recurrent layer in one operator, which has no integer kernel",
}
_CONSTANT_INPUT = "its input is constant, and so is its result"


def read_topology(graph: FloatGraph) -> Topology:
    """Find the layers to quantize, the first and the last included, as in AMCT.

    Raises:
        InputError: the network has no layer that can be quantized.
    """
    weights = {_weight_of(node, graph) for node in graph.model.graph.node if has_weight(node, graph)}
    products = [
        node
        for node in graph.model.graph.node
        if has_weight(node, graph) or (_is_constant_product(node, graph) and _is_read(node.output[0], graph, weights))
    ]
    uses = Counter(_source(_weight_of(node, graph), graph) for node in products)
    seen: Counter[str] = Counter()
    layers: list[QuantizableLayer] = []
    in_float: list[FloatLayer] = []
    for node in products:
        source = _source(_weight_of(node, graph), graph)
        seen[source] += 1
        name = source.removesuffix(".weight") + (f":{seen[source]}" if seen[source] > 1 else "")
        reason = _reason_for_float(node, graph)
        if reason is None:
            layers.append(_layer(name, node, graph, shared=uses[source] > 1))
        else:
            in_float.append(FloatLayer(name=name, reason=reason))
    if not layers:
        found = "; ".join(f"{layer.name}: {layer.reason}" for layer in in_float) or "no convolution and no Dense"
        message = f"the network has no layer to quantize ({found})"
        raise InputError(message, hint="amctq quantizes convolutions and products with a constant matrix")
    taken = {layer.name for layer in layers} | {layer.name for layer in in_float}
    tables, tables_in_float = read_embeddings(graph, taken)
    return Topology(
        layers=tuple(layers), left_in_float=(*in_float, *tables_in_float), pools=_pools(graph), tables=tables
    )


def fuse(graph: FloatGraph, topology: Topology) -> dict[str, FusedParameters]:
    """Fold each layer's BatchNorm into its weight and bias; by layer, in the order of execution.

    w' = w·γ/√(σ²+ε), b' = (b-μ)·γ/√(σ²+ε) + β in float32 (docs/en/reference.md, "BatchNorm fusion").

    Raises:
        InputError: a result is not finite.
    """
    return {layer.name: fold(layer, graph.arrays) for layer in topology.layers}


def _pools(graph: FloatGraph) -> tuple[PoolLayer, ...]:
    """The means over windows of height and width; a GlobalAveragePool has one window."""
    found = [
        node
        for node in graph.model.graph.node
        if node.output[0] not in graph.arrays
        and (node.op_type == "GlobalAveragePool" or len(attributes_of(node).get("kernel_shape", ())) == 2)
        and node.op_type in {"AveragePool", "GlobalAveragePool"}
    ]
    return tuple(
        PoolLayer(name=_cell_of(node), node=node.name, input=node.input[0], output=node.output[0]) for node in found
    )


def _cell_of(node: onnx.NodeProto) -> str:
    """``avgpool`` of the node ``avgpool.AvgPool``; a second use of the cell has a number behind it."""
    cell, _, primitive = str(node.name).rpartition(".")
    _, colon, number = primitive.partition(":")
    return f"{cell}{colon}{number}" if cell else primitive


def has_weight(node: onnx.NodeProto, graph: FloatGraph) -> bool:
    """Whether a node is a product of an activation with a constant."""
    if node.op_type not in {*PRODUCTS, *_FLOAT_PRODUCTS} or node.output[0] in graph.arrays:
        return False
    return any(name in graph.arrays for name in node.input[:2])


def _is_constant_product(node: onnx.NodeProto, graph: FloatGraph) -> bool:
    """Whether a node is a product of two constants."""
    return node.op_type in {*PRODUCTS, *_FLOAT_PRODUCTS} and node.output[0] in graph.arrays


def _is_read(constant: str, graph: FloatGraph, weights: Container[str]) -> bool:
    """Whether something else than the weights of layers depends on a constant. Weights are written as integers."""
    if constant in graph.outputs:
        return True
    for node in graph.consumers.get(constant, ()):
        if node.output[0] not in graph.arrays:
            if constant not in weights or constant != _weight_of(node, graph):
                return True
        elif any(_is_read(name, graph, weights) for name in node.output):
            return True
    return False


def _weight_of(node: onnx.NodeProto, graph: FloatGraph) -> str:
    return str(node.input[1] if node.input[1] in graph.arrays else node.input[0])


def _source(weight: str, graph: FloatGraph) -> str:
    """The parameter that a constant comes from, such as the matrix of which it is a part: the largest of several."""
    while weight in graph.producers:
        weight = max(filter(None, graph.producers[weight].input), key=lambda name: graph.arrays[name].size)
    return weight


def _reason_for_float(node: onnx.NodeProto, graph: FloatGraph) -> str | None:
    """Why a node stays in float whatever the target; None where it is quantized."""
    if node.output[0] in graph.arrays:
        return _CONSTANT_INPUT
    if node.op_type in _FLOAT_PRODUCTS:
        return _FLOAT_PRODUCTS[node.op_type]
    if node.input[1] not in graph.arrays:
        return "its constant matrix is the left operand, and integer kernels take it as the right one"
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias and bias not in graph.arrays:
        return "its bias is not constant"
    if bias and graph.arrays[bias].ndim != 1:
        return "its bias is no vector"
    attributes = attributes_of(node)
    if node.op_type == "Gemm" and (
        attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0 or attributes.get("transA", 0)
    ):
        return "a Gemm that is no Dense (alpha, beta or a transposed left operand)"
    if node.op_type == "MatMul" and graph.arrays[node.input[1]].ndim < 2:
        return "its constant is a vector"
    return None


def _beyond_amct(node: onnx.NodeProto, graph: FloatGraph, *, shared: bool) -> str | None:
    """Why AMCT cannot quantize a layer (docs/en/reference.md, "Layers of AMCT"); None where it can."""
    attributes = attributes_of(node)
    weight = graph.arrays[node.input[1]]
    if shared:
        return "its weights are used more than once"
    if node.input[1] in graph.producers:
        return "its weights are computed from parameters"
    if node.op_type == "Conv":
        if weight.ndim != 4:
            return f"a {weight.ndim - 2}-D convolution"
        if any(step != 1 for step in attributes.get("dilations", [1, 1])):
            return f"dilation {list(attributes['dilations'])}"
        group = attributes.get("group", 1)
        if group != 1 and weight.shape[:2] != (group, 1):
            return f"grouped convolution (group {group}), neither ungrouped nor depthwise"
        return None
    if node.op_type == "ConvTranspose":
        return "a transposed convolution"
    return None if attributes.get("transB", 0) else "a product with a matrix that is no nn.Dense"


def _beyond_amct_int4(channels: int, group: int) -> str | None:
    """Why AMCT cannot give a layer weights of 4 bits, two to a byte along C_in; None where it can."""
    if group != 1:
        return f"it has {group} groups"
    return f"its {channels} input channels are an odd number" if channels % 2 else None


def _layer(name: str, node: onnx.NodeProto, graph: FloatGraph, *, shared: bool) -> QuantizableLayer:
    attributes = attributes_of(node)
    weight = graph.arrays[node.input[1]]
    beyond = _beyond_amct(node, graph, shared=shared)
    axis: int | None = 0
    if node.op_type == "Conv":
        kind = _CONVOLUTIONS.get(weight.ndim, LayerKind.CONV)
    elif node.op_type == "ConvTranspose":
        kind, axis = LayerKind.TRANSPOSED, 1 if attributes.get("group", 1) == 1 else None
    else:
        transposed = bool(attributes.get("transB", 0))
        kind = LayerKind.DENSE if transposed else LayerKind.MATMUL
        axis = 0 if transposed else 1 if weight.ndim == 2 else None
    foldable = not kind.is_dense and axis is not None
    norm_node = _batch_norm_after(node, graph) if foldable else None
    norm = None
    if norm_node is not None:
        _, gamma, beta, mean, variance = norm_node.input
        norm = BatchNorm(
            gamma=gamma,
            beta=beta,
            mean=mean,
            variance=variance,
            epsilon=float(attributes_of(norm_node).get("epsilon", 1e-5)),
        )
    return QuantizableLayer(
        name=name,
        kind=kind,
        node=node.name,
        input=node.input[0],
        raw_output=node.output[0],
        output=(norm_node or node).output[0],
        weight=node.input[1],
        bias=(node.input[2] or None) if len(node.input) > 2 else None,
        batch_norm=norm,
        batch_norm_node=None if norm_node is None else norm_node.name,
        channel_axis=axis,
        depthwise=node.op_type == "Conv" and is_depthwise(attributes.get("group", 1), weight.shape),
        beyond_amct=beyond,
        beyond_amct_int4=_beyond_amct_int4(weight.shape[_input_axis(node)], attributes.get("group", 1)),
    )


def _input_axis(node: onnx.NodeProto) -> int:
    """The axis of a weight that has the input channels."""
    if node.op_type == "Conv":
        return 1
    if node.op_type == "ConvTranspose":
        return 0
    return -1 if attributes_of(node).get("transB", 0) else -2


def _batch_norm_after(node: onnx.NodeProto, graph: FloatGraph) -> onnx.NodeProto | None:
    """The BatchNormalization with constant parameters that is the only reader of a convolution's output."""
    if node.output[0] in graph.outputs:
        return None
    consumers = graph.consumers.get(node.output[0], ())
    if len(consumers) != 1 or consumers[0].op_type != "BatchNormalization":
        return None
    norm = consumers[0]
    return norm if all(name in graph.arrays for name in norm.input[1:]) else None
