"""QDQ ONNX: QuantizeLinear and DequantizeLinear pairs at the sites of a placement (docs/en/reference.md, "QDQ ONNX").

    x ─ QuantizeLinear ─ DequantizeLinear ─┐
    int8 weight ────── DequantizeLinear ───┤ Conv/Gemm ─ y
    int32 bias ─────── DequantizeLinear ───┘

With placement ``ascend``, only layers read the dequantized tensors. With ``ort``, all nodes read them, nodes that only
move values work on the integers between the pair, and the first convolution is rewritten (stem.py).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from amctq.choices import ActType, Placement, WeightType
from amctq.export.integer_operators import ZERO_POINT, IntegerOperators, channels_to_stay_in_float, zero_point
from amctq.export.stem import write_stem
from amctq.export.table_onnx import TableWriter
from amctq.export.weights_onnx import is_depthwise, weight_type_of, write_bias, write_folded_weight, write_weight
from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.graph.integer_operators import is_clip
from amctq.graph.opset import graph_for
from amctq.graph.placement import PlacedActivations
from amctq.graph.rewrite import GraphWriter
from amctq.graph.value_bounds import UNBOUNDED, Bounds, clip_limits
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
        metadata: for the file's metadata_props.
    """
    writer = _QdqWriter(graph_for(graph, weight_type), layers, activations, tables, act_type, weight_type)
    for node, layer in writer.walk():
        writer.write(node, layer)
    return writer.finish(metadata=metadata)


class _QdqWriter(GraphWriter):
    """Keeps the names of the integers and of the dequantized copy of each tensor."""

    def __init__(
        self,
        graph: FloatGraph,
        layers: tuple[IntegerLayer, ...],
        activations: PlacedActivations,
        tables: tuple[IntegerTable, ...],
        act_type: ActType,
        weight_type: WeightType,
    ) -> None:
        super().__init__(graph, (item.layer for item in layers))
        self._items = {item.layer.name: item for item in layers}
        self._products = {item.layer.output: item for item in layers if item.layer.kind is LayerKind.MATMUL}
        self._plan, self._act_type, self._weight_type = activations.plan, act_type, weight_type
        self._in_float = {layer.name for layer in self._plan.float_layers}
        self._tables = TableWriter(self, tables)
        self._operators = IntegerOperators(writer=self, graph=graph, act_type=act_type)
        # With placement ascend, a tensor may have two sites; nodes that are no layers then read the float tensor.
        self._sites: dict[str, list[int]] = {}
        for index, site in enumerate(self._plan.sites):
            if site.written:
                self._sites.setdefault(site.tensor, []).append(index)
        self._site_of = {name: index for index, site in enumerate(self._plan.sites) for name in site.layers}
        self._pools = {pool.node: pool.name for pool in self._plan.pools}
        self._qparams = activations.qparams
        self._scales: list[list[str]] = [[] for _ in self._qparams]
        self._integers: dict[tuple[int, str], str] = {}
        self._dequantized: dict[tuple[int, str], str] = {}
        self._by_channel: dict[tuple[int, str, int], str] = {}
        self._without_float: dict[str, onnx.NodeProto] = {}  # by tensor, the node that moves only its integers
        self._shared: dict[str, int] = {}  # by tensor, the site that all its readers use
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
            if self._plan.placement is Placement.ORT and node.op_type == "Add":
                inputs = self._as_bias(node, inputs)
            self.copy(node, inputs)
        if node.name not in self._plan.moves and node.name not in self._plan.integers:
            for output in [layer.output] if layer is not None else node.output:
                self._quantize(output)

    def _write_layer(self, node: onnx.NodeProto, layer: QuantizableLayer) -> None:
        item, site = self._items[layer.name], self._site_of[layer.name]
        if layer.name in self._in_float:
            self.layer(
                layer, node, [*self._float_inputs(node)[:1], *write_folded_weight(self, item, self._weight_type)]
            )
            return
        stem = None
        if (
            self._plan.placement is Placement.ORT
            and self._act_type is ActType.UINT8
            and layer.input in self._graph.inputs
            # The direct kernels take only int8 weights; with uint8 weights nothing is gained.
            and weight_type_of(item.weight, self._weight_type) is not WeightType.UINT8
        ):
            shape = self._graph.inputs[layer.input].shape
            stem = write_stem(self, item, node, self._integers[site, layer.input], shape)
        if stem is None:
            activation, attributes = self._dequantize(site, layer.input), {}
        else:
            item, attributes = stem.item, dict(stem.attributes)
            activation = self._dequantize_as(site, stem.integers)
        depthwise = node.op_type == "Conv" and is_depthwise(
            attributes_of(node).get("group", 1), item.weight.values.shape
        )
        exact = WeightType.INT8 if depthwise and self._weight_type is WeightType.UINT8 else self._weight_type
        inputs = [activation, write_weight(self, item, exact)]
        if item.bias is not None:
            inputs.append(write_bias(self, f"{layer.name}.bias", item.bias, item.bias_scale))
        self.layer(layer, node, inputs, **attributes)

    def _move(self, node: onnx.NodeProto) -> None:
        """Let a node work on integers; its outputs have the scale of its inputs."""
        site = self._shared[node.input[0]]
        inputs = [self._integers.get((site, name), name) for name in node.input]
        if node.op_type == "Pad":  # its value is the zero point now
            inputs[2:3] = [self._scales[site][1]]
        moved = [f"{output}.q" for output in node.output]
        self.copy(node, inputs, moved)
        for output, name in zip(node.output, moved, strict=True):
            self._integers[site, output], self._shared[output] = name, site
            self._without_float[output] = node

    def _compute(self, node: onnx.NodeProto) -> None:
        """Write an operator with integer kernels, and the quantizer behind it."""
        inputs = [self._dequantize(self._shared[name], name) if name in self._shared else name for name in node.input]
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
            site = self._shared.get(name)
            if site is None or self._plan.sites[site].only_integers:
                self._move_in_float(name)
                read.append(name)
            elif (channels := channels_to_stay_in_float(node, self._graph)) and name == node.input[0]:
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
            self._plan.placement is not Placement.ORT
            or self._act_type is not ActType.UINT8
            or not sites
            or not is_clip(node, self._graph)
            or node.input[0] in self._shared
        ):
            return False
        (low, high), (lowest, highest) = clip_limits(node, self._graph), self._qparams[sites[0]].range
        return not (low <= lowest and highest <= high)

    def _quantize(
        self, tensor: str, source: str | None = None, factor: float = 1.0, limits: Bounds = UNBOUNDED
    ) -> None:
        """Add the quantizers of a float tensor that was just written.

        Args:
            tensor: the tensor of the float graph.
            source: what is quantized in its place.
            factor: by how much the scale of ``source`` is larger.
            limits: what the integers are cut off at, in values of ``tensor``.
        """
        for index in self._sites.get(tensor, ()):
            site, qparams = self._plan.sites[index], self._qparams[index]
            name = f"{site.layers[0]}.input" if site.layers else tensor
            zero = zero_point(qparams, self._act_type)
            self._scales[index] = [
                self.initializer(f"{name}.scale", np.asarray(qparams.scale, np.float32)),
                self.shared(ZERO_POINT, zero),
            ]
            scale = self._scales[index]
            if factor != 1.0:
                scale = [
                    self.initializer(f"{name}.sum.scale", np.asarray(qparams.scale * factor, np.float32)),
                    scale[1],
                ]
            cut = limits != UNBOUNDED
            whole = f"{name}.uncut.q" if cut else f"{name}.q"
            integers = self.node("QuantizeLinear", whole, [source or tensor, *scale], whole)
            if cut:
                kind = np.iinfo(zero.dtype)
                ends = np.clip(np.rint(np.asarray(limits) / qparams.scale) + int(zero), kind.min, kind.max)
                cuts = [
                    self.initializer(f"{name}.{end}", np.asarray(value).astype(zero.dtype))
                    for end, value in zip(("lowest", "highest"), ends, strict=True)
                ]
                integers = self.node("Clip", f"{name}.cut", [integers, *cuts], f"{name}.q")
            self._integers[index, tensor] = integers
            if self._plan.placement is Placement.ORT:
                self._shared[tensor] = index

    def _dequantize(self, site: int, tensor: str) -> str:
        if (site, tensor) not in self._dequantized:
            self._dequantized[site, tensor] = self._dequantize_as(site, self._integers[site, tensor])
        return self._dequantized[site, tensor]

    def _dequantize_as(self, site: int, integers: str) -> str:
        name = integers.removesuffix(".q")
        return self.node("DequantizeLinear", f"{name}.dq", [integers, *self._scales[site]], f"{name}.dq")

    def _dequantize_by_channel(self, site: int, tensor: str, channels: int) -> str:
        """The same numbers by a DequantizeLinear whose scale stands there once for each channel."""
        if (site, tensor, channels) not in self._by_channel:
            integers, qparams = self._integers[site, tensor], self._qparams[site]
            name = f"{integers.removesuffix('.q')}.channels"
            scale = self.initializer(f"{name}.scale", np.full(channels, qparams.scale, np.float32))
            zero = self.shared(ZERO_POINT, np.full(channels, zero_point(qparams, self._act_type)))
            self._by_channel[site, tensor, channels] = self.node(
                "DequantizeLinear", f"{name}.dq", [integers, scale, zero], f"{name}.dq", axis=1
            )
        return self._by_channel[site, tensor, channels]
