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
from amctq.export.stem import write_stem
from amctq.export.weights_onnx import weight_type_of, write_bias, write_weight
from amctq.graph.float_graph import FloatGraph
from amctq.graph.opset import graph_for
from amctq.graph.placement import PlacedActivations
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import QuantizableLayer


def build_qdq(
    graph: FloatGraph,
    layers: tuple[IntegerLayer, ...],
    activations: PlacedActivations,
    *,
    act_type: ActType = ActType.UINT8,
    weight_type: WeightType = WeightType.INT8,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write the quantized network with a dynamic batch; opset 17, or 21 with INT4 weights.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others stay in float.
        activations: the quantized tensors with their scales and offsets.
        act_type: integer type of the activations.
        weight_type: integer type of the weights, where their width allows it.
        metadata: for the file's metadata_props.
    """
    writer = _QdqWriter(graph_for(graph, weight_type), layers, activations, act_type, weight_type)
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
        act_type: ActType,
        weight_type: WeightType,
    ) -> None:
        super().__init__(graph, (item.layer for item in layers))
        self._items = {item.layer.name: item for item in layers}
        self._plan, self._act_type, self._weight_type = activations.plan, act_type, weight_type
        # With placement ascend, a tensor may have two sites; nodes that are no layers then read the float tensor.
        self._sites: dict[str, list[int]] = {}
        for index, site in enumerate(self._plan.sites):
            self._sites.setdefault(site.tensor, []).append(index)
        self._site_of = {name: index for index, site in enumerate(self._plan.sites) for name in site.layers}
        self._qparams = activations.qparams
        self._scales: list[list[str]] = [[] for _ in self._qparams]
        self._integers: dict[tuple[int, str], str] = {}
        self._dequantized: dict[tuple[int, str], str] = {}
        self._shared: dict[str, int] = {}  # by tensor, the site that all its readers use
        self._quantize(graph.input_name)

    def write(self, node: onnx.NodeProto, layer: QuantizableLayer | None) -> None:
        """Write one node of the float graph."""
        if layer is not None:
            self._write_layer(node, layer)
        elif node.name in self._plan.moves:
            tensor, output = node.input[0], node.output[0]
            site = self._shared[tensor]
            moved = f"{output}.q"
            others = list(node.input[1:])
            if node.op_type == "Pad":  # its value is the zero point now
                others[1:2] = [self._scales[site][1]]
            self.copy(node, [self._integers[site, tensor], *others], moved)
            self._integers[site, output], self._shared[output] = moved, site
        else:
            sites = self._shared
            self.copy(node, [self._dequantize(sites[name], name) if name in sites else name for name in node.input])
        for output in [layer.output] if layer is not None else node.output:
            self._quantize(output)

    def _write_layer(self, node: onnx.NodeProto, layer: QuantizableLayer) -> None:
        item, site = self._items[layer.name], self._site_of[layer.name]
        stem = None
        if (
            self._plan.placement is Placement.ORT
            and self._act_type is ActType.UINT8
            and layer.input == self._graph.input_name
            # The direct kernels take only int8 weights; with uint8 weights nothing is gained.
            and weight_type_of(item.weight, self._weight_type) is not WeightType.UINT8
        ):
            stem = write_stem(self, item, node, self._integers[site, layer.input], self._graph.input_shape)
        if stem is None:
            activation, attributes = self._dequantize(site, layer.input), {}
        else:
            item, attributes = stem.item, dict(stem.attributes)
            activation = self._dequantize_as(site, stem.integers)
        inputs = [activation, write_weight(self, item, self._weight_type)]
        if item.bias is not None:
            inputs.append(write_bias(self, f"{layer.name}.bias", item.bias, item.bias_scale))
        self.layer(layer, node, inputs, **attributes)

    def _quantize(self, tensor: str) -> None:
        """Add the quantizers of a float tensor that was just written."""
        for index in self._sites.get(tensor, ()):
            site, qparams = self._plan.sites[index], self._qparams[index]
            name = f"{site.layers[0]}.input" if site.layers else tensor
            zero = np.uint8(qparams.zero_point_uint8) if self._act_type is ActType.UINT8 else np.int8(qparams.offset)
            self._scales[index] = [
                self.initializer(f"{name}.scale", np.asarray(qparams.scale, np.float32)),
                self.initializer(f"{name}.zero_point", np.asarray(zero)),
            ]
            self._integers[index, tensor] = self.node(
                "QuantizeLinear", f"{name}.q", [tensor, *self._scales[index]], f"{name}.q"
            )
            if self._plan.placement is Placement.ORT:
                self._shared[tensor] = index

    def _dequantize(self, site: int, tensor: str) -> str:
        if (site, tensor) not in self._dequantized:
            self._dequantized[site, tensor] = self._dequantize_as(site, self._integers[site, tensor])
        return self._dequantized[site, tensor]

    def _dequantize_as(self, site: int, integers: str) -> str:
        name = integers.removesuffix(".q")
        return self.node("DequantizeLinear", f"{name}.dq", [integers, *self._scales[site]], f"{name}.dq")
