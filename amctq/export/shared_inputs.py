"""Visiting the layers of a deploy or fake-quant file, and the means over windows; equal inputs are quantized once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import onnx

from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer, IntegerPool
from amctq.quant.numerics import QParams


def layers_on_shared_inputs(
    writer: GraphWriter,
    layers: Iterable[IntegerLayer],
    pools: Iterable[IntegerPool],
    quantize: Callable[[GraphWriter, str, str, QParams], str],
) -> Iterator[tuple[onnx.NodeProto, IntegerLayer | IntegerPool, str]]:
    """Copy the nodes that stay in float, and yield each layer in the order of execution.

    Args:
        writer: writes the new graph.
        layers: the layers to quantize.
        pools: the means over windows to quantize.
        quantize: adds the quantization of a tensor, and returns the name of the result. Its arguments: the writer, the
            name of the first layer that reads the tensor, the tensor's name, and its scale and offset.

    Yields:
        The layer's node, the layer, and the name of its quantized input.
    """
    items: dict[str, IntegerLayer | IntegerPool] = {item.layer.node: item for item in layers}
    items |= {item.layer.node: item for item in pools}
    quantized: dict[tuple[str, QParams], str] = {}
    for node, _ in writer.walk():
        item = items.get(node.name)
        if item is None:
            writer.copy(node, node.input)
            continue
        source = (item.layer.input, item.activation)
        if source not in quantized:
            quantized[source] = quantize(writer, item.layer.name, *source)
        yield node, item, quantized[source]
