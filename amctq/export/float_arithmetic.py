"""The quantized network in float arithmetic: what a QDQ file computes, without any integer kernel.

    x ─ Div(scale) ─ Round ─ Clip(-128 - o, 127 - o) ─ Mul(scale) ─┐
    weight × its scale, float32 ───────────────────────────────────┤ Conv/Gemm ─ y
    bias × its scale, float32 ─────────────────────────────────────┘

Run without graph optimisations, it has neither the fusions nor the saturation of a runtime's integer kernels. It is
made from the same scales as the QDQ file, by other code: this graph has no zero point, no integer type and no
rearranged first convolution.
"""

from __future__ import annotations

import numpy as np
import onnx

from amctq.choices import Placement
from amctq.export.integer_operators import batch_norm_integers
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer, IntegerTable
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import SMALLEST, QParams, dequantize, dequantize_bias, quantize, range_qparams

_WITH_CONSTANTS = frozenset({"Add", "Mul", "Sub", "Div"})


def build_float_arithmetic(
    graph: FloatGraph,
    layers: tuple[IntegerLayer, ...],
    activations: PlacedActivations,
    tables: tuple[IntegerTable, ...] = (),
) -> onnx.ModelProto:
    """Write the quantized network in float operators with a dynamic batch; opset 17.

    Args:
        graph: the float network; it is not changed.
        layers: the layers that are quantized.
        activations: the quantized tensors with their scales and offsets.
        tables: the embedding tables that are quantized.
    """
    writer = _FloatWriter(graph, layers, activations, tables)
    for node, layer in writer.walk():
        writer.write(node, layer)
    return writer.finish()


class _FloatWriter(GraphWriter):
    """Keeps the rounded copy of every quantized tensor."""

    def __init__(
        self,
        graph: FloatGraph,
        layers: tuple[IntegerLayer, ...],
        activations: PlacedActivations,
        tables: tuple[IntegerTable, ...],
    ) -> None:
        super().__init__(graph, (item.layer for item in layers))
        self._items = {item.layer.name: item for item in layers}
        self._tables = {node: item for item in tables for node in item.table.nodes}
        self._plan, self._qparams = activations.plan, activations.qparams
        self._shares = self._plan.placement is Placement.ORT
        self._in_float = {layer.name for layer in self._plan.float_layers}
        self._sites: dict[str, list[int]] = {}
        for index, site in enumerate(self._plan.sites):
            if site.written:
                self._sites.setdefault(site.tensor, []).append(index)
        self._site_of = {name: index for index, site in enumerate(self._plan.sites) for name in site.layers}
        self._pools = {pool.node: pool.name for pool in self._plan.pools}
        self._rounded: dict[int, str] = {}
        # By tensor, what integer operators read in its place, and what all others do.
        self._for_integers: dict[str, str] = {}
        self._for_all: dict[str, str] = {}
        self._scale_of: dict[str, float] = {}  # of the integers of a tensor
        for name in graph.float_inputs:
            self._quantize(name)

    def write(self, node: onnx.NodeProto, layer: QuantizableLayer | None) -> None:
        """Write one node of the float graph."""
        if layer is not None:
            self._write_layer(node, layer)
            self._quantize(layer.output)
            return
        pool = self._pools.get(node.name)
        if pool is not None:
            self.copy(node, [self._rounded[self._site_of[pool]]])
            self._quantize(node.output[0])
            return
        if node.name in self._plan.moves:
            self._move(node)
        elif node.name in self._plan.integers:
            self._compute(node)
        elif node.name in self._tables:
            table = self._tables[node.name].weight.dequantized()
            self.copy(node, [self.initializer(f"{node.output[0]}.table.float", table), node.input[1]])
        elif node.name in self._plan.before_quantizers:
            self.copy(node, node.input)
        else:
            self.copy(node, [self._for_all.get(name, name) for name in node.input])
        for output in node.output:
            self._quantize(output)

    def _write_layer(self, node: onnx.NodeProto, layer: QuantizableLayer) -> None:
        item = self._items[layer.name]
        if layer.name in self._in_float:
            tensor = self._for_all.get(layer.input, layer.input)
        elif self._shares:
            tensor = self._for_integers[layer.input]
        else:
            tensor = self._rounded[self._site_of[layer.name]]
        weight = layer.as_stored(item.weight.dequantized())
        inputs = [tensor, self.initializer(f"{layer.name}.weight.float", weight)]
        if item.bias is not None:
            bias = dequantize_bias(item.bias, item.bias_scale)
            inputs.append(self.initializer(f"{layer.name}.bias.float", bias))
        self.layer(layer, node, inputs)

    def _move(self, node: onnx.NodeProto) -> None:
        """Move the values that everything reads and, where they differ, those that integer operators read."""
        self.copy(node, [self._for_all.get(name, name) for name in node.input])
        source = node.input[0]
        self._scale_of |= dict.fromkeys(node.output, self._scale_of[source])
        if self._for_integers.get(source) == self._for_all.get(source):
            for output in node.output:
                self._for_integers[output] = self._for_all[output] = output
            return
        moved = [f"{output}.rounded" for output in node.output]
        self.copy(node, [self._for_integers.get(name, name) for name in node.input], moved)
        self._for_integers |= dict(zip(node.output, moved, strict=True))

    def _compute(self, node: onnx.NodeProto) -> None:
        """An operator on rounded values; its constants are rounded to 8 bits too."""
        read = [self._for_integers.get(name, name) for name in node.input]
        if node.op_type == "HardSwish":  # the file computes x × clip(x + 3, 0, 6) / 6, and rounds the second factor
            gate = f"{node.output[0]}.gate"
            self.node("HardSigmoid", gate, read, gate, alpha=1 / 6, beta=0.5)
            rounded = _fake_quantize(self, gate, gate, range_qparams(0.0, 1.0))
            self.node("Mul", node.name, [read[0], rounded], node.output[0])
            return
        if node.op_type == "BatchNormalization":
            factor, shift = batch_norm_integers(node, self._graph, self._scale_of[node.input[0]]).dequantized
            constants = {
                **{"gamma": factor, "beta": shift},
                **{"mean": np.zeros_like(shift), "variance": np.ones_like(shift)},
            }
            read[1:] = [self.initializer(f"{node.output[0]}.{name}", array) for name, array in constants.items()]
            self.node(node.op_type, node.name, read, node.output[0], epsilon=0.0)
            return
        if node.op_type in _WITH_CONSTANTS:
            arrays = self._graph.arrays
            read = [self._constant(node, name) if name in arrays else read[i] for i, name in enumerate(node.input)]
        self.copy(node, read)

    def _constant(self, node: onnx.NodeProto, name: str) -> str:
        values = self._graph.arrays[name].astype(np.float32)
        values = 1 / values if node.op_type == "Div" else values
        qparams = range_qparams(float(values.min()), float(values.max()), smallest=SMALLEST)
        rounded = dequantize(quantize(values, qparams.scale, qparams.offset), qparams.scale, qparams.offset)
        rounded = 1 / rounded if node.op_type == "Div" else rounded
        return self.initializer(f"{node.output[0]}.{name}.rounded", rounded.astype(np.float32))

    def _quantize(self, tensor: str) -> None:
        for index in self._sites.get(tensor, ()):
            self._rounded[index] = _fake_quantize(self, f"site.{index}", tensor, self._qparams[index])
            if self._shares:
                self._for_integers[tensor] = self._rounded[index]
                self._scale_of[tensor] = self._qparams[index].scale
                if not self._plan.sites[index].only_integers:
                    self._for_all[tensor] = self._rounded[index]


def _fake_quantize(writer: GraphWriter, name: str, tensor: str, qparams: QParams) -> str:
    """Add the fake quantization of a tensor; returns the name of the result."""
    numbers = {"scale": qparams.scale, "low": -128 - qparams.offset, "high": 127 - qparams.offset}
    scale, low, high = (
        writer.initializer(f"{name}.{key}", np.asarray(value, np.float32)) for key, value in numbers.items()
    )
    for op, operands in (("Div", [scale]), ("Round", []), ("Clip", [low, high]), ("Mul", [scale])):
        tensor = writer.node(op, f"{name}.{op.lower()}", [tensor, *operands], f"{name}.{op.lower()}")
    return tensor
