"""QDQ ONNX: QuantizeLinear and DequantizeLinear pairs at the sites of a placement (docs/en/reference.md, "QDQ ONNX").

    x ─ QuantizeLinear ─ DequantizeLinear ─┐
    int8 weight ────── DequantizeLinear ───┤ Conv/Gemm ─ y
    int32 bias ─────── DequantizeLinear ───┘

With placement ``ascend``, only layers read the dequantized tensors. With ``ort``, all nodes read them. For onnxruntime,
nodes that only move values then work on the integers between the pair, and the first convolution is rewritten
(stem.py); other runtimes want nothing between the pair.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from amctq.choices import ActType, Placement, WeightType
from amctq.export.integer_operators import IntegerOperators, channels_to_stay_in_float, zero_point
from amctq.export.site_writer import SiteWriter
from amctq.export.stem import write_stem
from amctq.export.table_onnx import TableWriter
from amctq.export.weights_onnx import weight_type_of, write_bias, write_float_bias, write_folded_weight, write_weight
from amctq.graph.float_graph import FloatGraph
from amctq.graph.integer_operators import is_clip
from amctq.graph.opset import graph_for
from amctq.graph.placement import PlacedActivations
from amctq.graph.qdq_rules import ONNXRUNTIME, QdqRules
from amctq.graph.value_bounds import UNBOUNDED, clip_limits
from amctq.quant.integer import IntegerLayer, IntegerTable
from amctq.quant.layers import LayerKind, QuantizableLayer
from amctq.quant.numerics import quantize_bias


def build_qdq(
    graph: FloatGraph,
    layers: tuple[IntegerLayer, ...],
    activations: PlacedActivations,
    *,
    tables: tuple[IntegerTable, ...] = (),
    act_type: ActType = ActType.UINT8,
    weight_type: WeightType = WeightType.INT8,
    rules: QdqRules = ONNXRUNTIME,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write the quantized network with a dynamic batch; opset 17, or 21 with INT4 weights.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others stay in float.
        activations: the quantized tensors with their scales and offsets.
        tables: the embedding tables to quantize.
        act_type: integer type of the activations.
        weight_type: integer type of the weights, where their width allows it.
        rules: of the runtime that the file is for; ``activations`` were placed by the same.
        metadata: for the file's metadata_props.
    """
    writer = _QdqWriter(graph_for(graph, weight_type), layers, activations, tables, act_type, weight_type, rules)
    for node, layer in writer.walk():
        writer.write(node, layer)
    return writer.finish(metadata=metadata)


class _QdqWriter(SiteWriter):
    """Writes each node as the runtime wants it."""

    def __init__(
        self,
        graph: FloatGraph,
        layers: tuple[IntegerLayer, ...],
        activations: PlacedActivations,
        tables: tuple[IntegerTable, ...],
        act_type: ActType,
        weight_type: WeightType,
        rules: QdqRules,
    ) -> None:
        super().__init__(graph, (item.layer for item in layers), activations, act_type)
        self._items = {item.layer.name: item for item in layers}
        self._products = {item.layer.output: item for item in layers if item.layer.kind is LayerKind.MATMUL}
        self._rules, self._weight_type = rules, weight_type
        self._pools = {pool.node: pool.name for pool in self._plan.pools}
        self._without_float: dict[str, onnx.NodeProto] = {}  # by tensor, the node that moves only its integers
        self._moved: dict[str, onnx.NodeProto] = {}  # by tensor, the node that moves it between quantizers
        self._moved_in_float: set[str] = set()
        # What onnxruntime computes faster, or only so.
        self._for_ort = rules.bare_integers and self._plan.placement is Placement.ORT
        self._in_float = {layer.name for layer in self._plan.float_layers}
        self._tables = TableWriter(self, tables)
        self._operators = IntegerOperators(writer=self, graph=graph, act_type=act_type)
        for name in graph.float_inputs:
            self._quantize(name)

    def write(self, node: onnx.NodeProto, layer: QuantizableLayer | None) -> None:
        """Write one node of the float graph."""
        if layer is not None:
            self._write_layer(node, layer)
        elif node.name in self._pools:
            self.copy(node, [self._dequantize(self._site_of[self._pools[node.name]], node.input[0])])
        elif node.name in self._plan.moves:
            self._move(node)
        elif node.name in self._plan.integers:
            self._compute(node)
        elif self._cuts_integers(node):
            self._quantize(node.output[0], node.input[0], limits=clip_limits(node, self._graph))
            return
        elif not self._tables.write(node):
            inputs = self._float_inputs(node)
            if self._for_ort and node.op_type == "Add":
                inputs = self._as_bias(node, inputs)
            self.copy(node, inputs)
        if node.name not in self._plan.moves and node.name not in self._plan.integers:
            for output in [layer.output] if layer is not None else node.output:
                self._quantize(output)

    def shared(self, label: str, array: NDArray[np.generic]) -> str:
        """As everywhere, but OpenVINO gets a zero point for each quantizer: it changes one for all that share it."""
        return super().shared(label, array) if self._rules.bare_integers else self.own(label, array)

    def _write_layer(self, node: onnx.NodeProto, layer: QuantizableLayer) -> None:
        item, site = self._items[layer.name], self._site_of[layer.name]
        if layer.name in self._in_float:
            self.layer(
                layer, node, [*self._float_inputs(node)[:1], *write_folded_weight(self, item, self._weight_type)]
            )
            return
        stem = None
        if (
            self._for_ort
            and self._act_type is ActType.UINT8
            and layer.input in self._graph.inputs
            # The direct kernels take only int8 weights; with uint8 weights nothing is gained.
            and weight_type_of(item, self._weight_type) is not WeightType.UINT8
        ):
            shape = self._graph.inputs[layer.input].shape
            stem = write_stem(self, item, node, self._integers[site, layer.input], shape)
        if stem is None:
            activation, attributes = self._dequantize(site, layer.input), {}
        else:
            item, attributes = stem.item, dict(stem.attributes)
            activation = self._dequantize_as(site, stem.integers)
        exact = WeightType.INT8 if layer.depthwise and self._weight_type is WeightType.UINT8 else self._weight_type
        inputs = [activation, write_weight(self, item, exact)]
        if item.bias is not None:
            as_stored = write_float_bias if self._rules.float_biases else write_bias
            inputs.append(as_stored(self, f"{layer.name}.bias", item.bias, item.bias_scale))
        self.layer(layer, node, inputs, **attributes)

    def _move(self, node: onnx.NodeProto) -> None:
        """Let a node work on integers; its outputs have the scale of its inputs."""
        site = self._shared[node.input[0]]
        if not self._rules.bare_integers:
            self._move_by_floats(node, site)
            return
        inputs = [self._integers.get((site, name), name) for name in node.input]
        if node.op_type == "Pad":  # its value is the zero point now
            inputs[2:3] = [self._scales[site][1]]
        moved = [f"{output}.q" for output in node.output]
        self.copy(node, inputs, moved)
        for output, name in zip(node.output, moved, strict=True):
            self._integers[site, output], self._shared[output] = name, site
            self._without_float[output] = node

    def _move_by_floats(self, node: onnx.NodeProto, site: int) -> None:
        """Let a node work on dequantized values, with a quantizer of the same scale behind it, which changes nothing.

        A runtime that moves integers recognises that: it takes the quantizers in front of the node as they are.
        """
        if zero_point(self._qparams[site], self._act_type) and _pads_channels(node, self._graph):
            self.copy(node, [self._before_quantizer(name) for name in node.input])
        else:
            self.copy(node, [self._dequantize(site, name) if name in self._shared else name for name in node.input])
        self._moved |= dict.fromkeys(node.output, node)
        for output in node.output:
            self._shared[output] = site
            if any(reader.name not in self._plan.moves for reader in self._graph.consumers.get(output, ())):
                self._integers[site, output] = self.node(
                    "QuantizeLinear", f"{output}.q", [output, *self._scales[site]], f"{output}.q"
                )
            else:
                self._dequantized[site, output] = output

    def _before_quantizer(self, tensor: str) -> str:
        """What a tensor that is moved in integers is in float, moved from before its quantizer."""
        node = self._moved.get(tensor)
        if node is None:
            return tensor
        outputs = {name: f"{name}.float" for name in node.output}
        if tensor not in self._moved_in_float:
            self.copy(node, [self._before_quantizer(name) for name in node.input], list(outputs.values()))
            self._moved_in_float |= outputs.keys()
        return outputs[tensor]

    def _compute(self, node: onnx.NodeProto) -> None:
        """Write an operator with integer kernels, and the quantizer behind it."""
        inputs = [self._dequantize(self._shared[name], name) if name in self._shared else name for name in node.input]
        if not self._rules.bare_integers:
            self.copy(node, inputs)
            self._quantize(node.output[0])
            return
        first = next(self._shared[name] for name in node.input if name in self._shared)
        written, factor = self._operators.write(node, inputs, self._qparams[first])
        limits = UNBOUNDED
        if node.op_type == "HardSigmoid":
            low, high = self._qparams[self._sites[node.output[0]][0]].range
            limits = UNBOUNDED if low >= 0 and high <= 1 else (0.0, 1.0)
        self._quantize(node.output[0], written, factor, limits)

    def _float_inputs(self, node: onnx.NodeProto) -> list[str]:
        """What a node that is computed in float reads."""
        read = []
        for name in node.input:
            site = None if node.name in self._plan.before_quantizers else self._shared.get(name)
            if site is None or self._plan.sites[site].only_integers:
                self._move_in_float(name)
                read.append(name)
            elif self._for_ort and (channels := channels_to_stay_in_float(node, self._graph)) and name == node.input[0]:
                read.append(self._dequantize_by_channel(site, name, channels))
            else:
                read.append(self._dequantize(site, name))
        return read

    def _as_bias(self, node: onnx.NodeProto, inputs: list[str]) -> list[str]:
        """The inputs of an Add behind a MatMul with its vector in integers.

        onnxruntime joins both to a Gemm, which it computes in integers only with an integer bias.
        """
        for index, name in enumerate(node.input):
            item, vector = self._products.get(name), self._graph.arrays.get(node.input[1 - index])
            if (
                item is not None
                and vector is not None
                and vector.ndim <= 2
                and vector.size == vector.shape[-1] == item.weight.values.shape[0]
                and name not in self._shared
            ):
                try:
                    bias = quantize_bias(vector.reshape(-1), item.bias_scale)
                except OverflowError:  # next to such a bias the product counts for nothing
                    return inputs
                inputs[1 - index] = write_bias(self, f"{node.output[0]}.bias", bias, item.bias_scale)
                return inputs
        return inputs

    def _move_in_float(self, tensor: str) -> None:
        """Write the nodes that yield a float tensor too, where so far they only move its integers."""
        node = self._without_float.pop(tensor, None)
        if node is not None:
            for output in node.output:
                self._without_float.pop(output, None)
            for name in node.input:
                self._move_in_float(name)
            self.copy(node, node.input)

    def _cuts_integers(self, node: onnx.NodeProto) -> bool:
        """Whether a Relu or Clip must work on integers: onnxruntime leaves it out only if the range ends at its limits.

        Otherwise it would stay in float, and the layer before it too.
        """
        sites = self._sites.get(node.output[0], [])
        if (
            not self._for_ort
            or self._act_type is not ActType.UINT8
            or not sites
            or not is_clip(node, self._graph)
            or node.input[0] in self._shared
        ):
            return False
        (low, high), (lowest, highest) = clip_limits(node, self._graph), self._qparams[sites[0]].range
        return not (low <= lowest and highest <= high)


def _pads_channels(node: onnx.NodeProto, graph: FloatGraph) -> bool:
    """Whether a node adds channels of zeros. OpenVINO 2026.4 computes them wrongly where zero is another integer."""
    if node.op_type != "Pad":
        return False
    pads = graph.arrays.get(node.input[1])
    return pads is None or bool(pads.reshape(2, -1)[:, :2].any())
