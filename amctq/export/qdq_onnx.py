"""QDQ ONNX: QuantizeLinear/DequantizeLinear pairs where the plan puts them.

    x ─ QuantizeLinear ─ DequantizeLinear ─┐
    int8 weight ────── DequantizeLinear ───┤ Conv/Gemm ─ y
    int32 bias ─────── DequantizeLinear ───┘

With placement ``ascend`` layers alone read what is dequantized. With ``ort`` everything does that reads a quantized
tensor, nodes that only move values work on the integers between the pair, and the first convolution is rearranged.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

from amctq.choices import ActType, Placement, WeightType
from amctq.export.stem import write_stem
from amctq.export.weights_onnx import weight_type_of, write_bias, write_weight
from amctq.graph.float_graph import FloatGraph
from amctq.graph.opset import graph_for
from amctq.graph.placement import PlacedActivations
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import QParams


def build_qdq(
    graph: FloatGraph,
    layers: tuple[IntegerLayer, ...],
    activations: PlacedActivations,
    *,
    act_type: ActType = ActType.UINT8,
    weight_type: WeightType = WeightType.INT8,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write the quantized network, batch dynamic; opset 17, or 21 with INT4 weights.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others keep their float weights.
        activations: which tensors are quantized, and how.
        act_type: integer type of the activations.
        weight_type: integer type of the weights, where their width allows it.
        metadata: stands in the file as metadata_props.
    """
    writer = _QdqWriter(graph_for(graph, weight_type), layers, activations, act_type, weight_type)
    for node, layer in writer.walk():
        writer.write(node, layer)
    model = writer.finish(graph.model.graph.output)
    helper.set_model_props(model, dict(metadata or {}))
    return model


class _QdqWriter(GraphWriter):
    """Keeps track of what each tensor is called as integers and dequantized."""

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
        # With placement ascend two sites may stand on one tensor; whoever is no layer then reads the float.
        self._sites: dict[str, list[int]] = {}
        for index, site in enumerate(self._plan.sites):
            self._sites.setdefault(site.tensor, []).append(index)
        self._site_of = {name: index for index, site in enumerate(self._plan.sites) for name in site.layers}
        self._qparams = activations.qparams
        self._scales: list[list[str]] = [[] for _ in self._qparams]
        self._integers: dict[tuple[int, str], str] = {}
        self._dequantized: dict[tuple[int, str], str] = {}
        self._shared: dict[str, int] = {}  # by tensor, the site that every reader of it reads
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
            if node.op_type == "Pad":  # the zeros that it brings in
                others[1:2] = [self._scales[site][1]]
            self.copy(node, [self._integers[site, tensor], *others], moved)
            self._integers[site, output], self._shared[output] = moved, site
        else:
            self.copy(node, [self._read(name) for name in node.input])
        for output in [layer.output] if layer is not None else node.output:
            self._quantize(output)

    def _write_layer(self, node: onnx.NodeProto, layer: QuantizableLayer) -> None:
        item, site = self._items[layer.name], self._site_of[layer.name]
        stem = None
        if (
            self._plan.placement is Placement.ORT
            and self._act_type is ActType.UINT8
            and layer.input == self._graph.input_name
            # The direct kernels take int8 weights alone; those for uint8 gain nothing.
            and weight_type_of(item.weight, self._weight_type) is not WeightType.UINT8
        ):
            stem = write_stem(self, item, node, self._integers[site, layer.input], self._graph.input_shape)
        if stem is None:
            activation, attributes = self._dequantize(site, layer.input), {}
        else:
            item, attributes = stem.item, dict(stem.attributes)
            activation = self._dequantize_as(site, stem.integers)
        inputs = [activation, write_weight(self, f"{layer.name}.weight", item.weight, self._weight_type)]
        if item.bias is not None:
            inputs.append(write_bias(self, f"{layer.name}.bias", item.bias, item.bias_scale))
        self.layer(layer, node, inputs, **attributes)

    def _quantize(self, tensor: str) -> None:
        """Put quantizers on a float tensor that now exists."""
        for index in self._sites.get(tensor, ()):
            site, qparams = self._plan.sites[index], self._qparams[index]
            name = f"{site.layers[0]}.input" if site.layers else tensor
            zero = _zero_point(qparams, self._act_type)
            self._scales[index] = [
                self.initializer(f"{name}.scale", np.asarray(qparams.scale, np.float32)),
                self.initializer(f"{name}.zero_point", np.asarray(zero)),
            ]
            self._integers[index, tensor] = self.node(
                "QuantizeLinear", f"{name}.q", [tensor, *self._scales[index]], f"{name}.q"
            )
            if self._plan.placement is Placement.ORT:
                self._shared[tensor] = index

    def _read(self, tensor: str) -> str:
        """What a node that is no layer reads."""
        site = self._shared.get(tensor)
        return tensor if site is None else self._dequantize(site, tensor)

    def _dequantize(self, site: int, tensor: str) -> str:
        if (site, tensor) not in self._dequantized:
            self._dequantized[site, tensor] = self._dequantize_as(site, self._integers[site, tensor])
        return self._dequantized[site, tensor]

    def _dequantize_as(self, site: int, integers: str) -> str:
        name = integers.removesuffix(".q")
        return self.node("DequantizeLinear", f"{name}.dq", [integers, *self._scales[site]], f"{name}.dq")


def _zero_point(qparams: QParams, act_type: ActType) -> np.generic:
    return np.uint8(qparams.zero_point_uint8) if act_type is ActType.UINT8 else np.int8(qparams.offset)
