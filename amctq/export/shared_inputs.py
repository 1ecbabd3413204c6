"""Layers of a deploy file or its float likeness, each behind the quantized input that it shares with others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import onnx

from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import QParams


def layers_on_shared_inputs(
    writer: GraphWriter,
    layers: Iterable[IntegerLayer],
    quantize: Callable[[GraphWriter, str, str, QParams], str],
) -> Iterator[tuple[onnx.NodeProto, IntegerLayer, str]]:
    """Copy what stays in float, and come by each layer in the order of execution.

    Args:
        writer: of the graph.
        layers: those to quantize.
        quantize: writes the quantization of a tensor on its scale, for the first layer (its name) that reads it so;
            returns the integers' name.

    Yields:
        The layer's node, the layer, and the name of its quantized input.
    """
    items = {item.layer.name: item for item in layers}
    quantized: dict[tuple[str, QParams], str] = {}
    for node, layer in writer.walk():
        if layer is None:
            writer.copy(node, node.input)
            continue
        item = items[layer.name]
        source = (layer.input, item.activation)
        if source not in quantized:
            quantized[source] = quantize(writer, layer.name, *source)
        yield node, item, quantized[source]
