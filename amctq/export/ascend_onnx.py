"""Deploy ONNX: the file that ATC compiles for an Ascend NPU (docs/en/reference.md, "Deploy ONNX").

    x ─ AscendQuant ─ int8 ─┐
    int8 weight ────────────┤ Conv/Gemm ─ int32 ─ AscendDequant ─ y
    int32 bias ─────────────┘                          │
    uint64: scale_d × scale_w as float32 in bits 0…31 ─┘

The bias contains no zero point: the sums are those of ``q - offset``. CANN corrects the bias for this when it compiles
the file, and padding is real zero. Layers that read the same tensor with the same scale share an AscendQuant. Weights
of 4 bits stand two to a byte along C_in (quant/packing.py). A mean over windows is an AveragePool on integers, and its
AscendDequant has scale_d alone. Only ATC reads such a file; inference/ascend_lowering.py expresses it in standard
operators.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from numpy.typing import NDArray

from amctq.export.shared_inputs import layers_on_shared_inputs
from amctq.graph.float_graph import FloatGraph, attributes_of
from amctq.graph.opset import deploy_graph
from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer, IntegerPool
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.packing import pack_int4


def build_ascend(
    graph: FloatGraph,
    layers: tuple[IntegerLayer, ...],
    pools: tuple[IntegerPool, ...] = (),
    *,
    metadata: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Write the quantized network with a dynamic batch; opset 11, or 17 where an operator has changed since 11.

    Args:
        graph: the float network; it is not changed.
        layers: the layers to quantize; all others stay in float.
        pools: the means over windows to quantize.
        metadata: for the file's metadata_props.
    """
    graph = deploy_graph(graph)
    writer = GraphWriter(graph, (item.layer for item in layers))
    for node, item, integers in layers_on_shared_inputs(writer, layers, pools, _quantize):
        if isinstance(item, IntegerPool):
            _write_pool(writer, graph, node, item, integers)
            continue
        layer, inputs, attributes = item.layer, [integers], {}
        values = item.weight.values
        if item.weight.bits == 4 and layer.packs_int4:
            values = pack_int4(values, axis=1)
        if layer.kind.is_dense:  # ATC expects weights of shape (C_in, C_out)
            values, attributes = np.ascontiguousarray(values.T), {"transB": 0}
        inputs.append(writer.initializer(layer.weight, values))
        if item.bias is not None:
            inputs.append(writer.initializer(layer.bias or f"{layer.name}.bias", item.bias))
        sums = writer.layer(layer, node, inputs, f"{layer.name}.int32", **attributes)
        parameter = writer.initializer(f"{layer.name}.dequant.param", dequant_parameter(item.bias_scale))
        writer.node("AscendDequant", f"{layer.name}.dequant", [sums, parameter], layer.output, dtype=0)
    return writer.finish(metadata=metadata)


def _write_pool(writer: GraphWriter, graph: FloatGraph, node: onnx.NodeProto, item: IntegerPool, integers: str) -> None:
    """Add an AveragePool; one over the whole tensor has its size as the window, because NPUs take no other."""
    name, attributes = item.layer.name, attributes_of(node)
    if node.op_type == "GlobalAveragePool":
        window = list(graph.shapes[item.layer.input][2:])
        attributes = {"kernel_shape": window, "strides": window}
    means = writer.node("AveragePool", name, [integers], f"{name}.int32", **attributes)
    scale = dequant_parameter(np.asarray([item.activation.scale], np.float32))
    parameter = writer.initializer(f"{name}.dequant.param", scale)
    writer.node("AscendDequant", f"{name}.dequant", [means, parameter], item.layer.output, dtype=0)


def dequant_parameter(scale: Float32Array) -> NDArray[np.uint64]:
    """AscendDequant's second input: uint64 with the float32 scales, shape (C_out,) or (1,), in the low 32 bits.

    The high 32 bits are an offset of weights and a shift of sums, which are 0.
    """
    return np.ascontiguousarray(scale, np.float32).view(np.uint32).astype(np.uint64)


def _quantize(writer: GraphWriter, layer: str, tensor: str, qparams: QParams) -> str:
    """Add the quantization of a tensor, named after ``layer``; returns the name of the integers."""
    return writer.node(
        "AscendQuant",
        f"{layer}.quant",
        [tensor],
        f"{layer}.quant.int8",
        scale=float(reciprocal(qparams.scale)),
        offset=float(qparams.offset),
        dst_type="INT8",
    )


def reciprocal(scale: float) -> np.float32:
    """1 / scale: AscendQuant multiplies by it, while all other formats divide by the scale."""
    return np.float32(1.0 / np.float64(np.float32(scale)))
