"""Writing embedding tables into an ONNX file: rows of int8 are picked, and then multiplied by their scales.

    int8 table ─ Gather ─ Cast ─┐
    scale of every row ─ Gather ─ Mul ─ y

Only what is picked becomes float. A DequantizeLinear before the Gather would compute the whole table anew for every
batch, and one behind it has no scale for each row: one for the table costs 4 dB (rows of normal random numbers).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from amctq.graph.rewrite import GraphWriter
from amctq.quant.integer import IntegerTable


class TableWriter:
    """Writes each table once, however many nodes pick rows of it.

    Args:
        writer: of the whole graph.
        tables: those in integers.
    """

    def __init__(self, writer: GraphWriter, tables: Sequence[IntegerTable]) -> None:
        self._writer = writer
        self._items: Mapping[str, IntegerTable] = {node: item for item in tables for node in item.table.nodes}
        self._written: dict[str, tuple[str, str]] = {}

    def write(self, node: onnx.NodeProto) -> bool:
        """Write a node that picks rows of such a table; False where it is another node."""
        item = self._items.get(node.name)
        if item is None:
            return False
        writer, indices, output = self._writer, node.input[1], node.output[0]
        values, scale = self._constants(item)
        picked = f"{output}.q"
        writer.copy(node, [values, indices], [picked])
        numbers = writer.node("Cast", f"{output}.cast", [picked], f"{output}.float", to=onnx.TensorProto.FLOAT)
        if item.weight.scale.size > 1:
            scale = writer.node("Gather", f"{output}.pick_scale", [scale, indices], f"{output}.scale", axis=0)
        writer.node("Mul", f"{output}.mul", [numbers, scale], output)
        return True

    def _constants(self, item: IntegerTable) -> tuple[str, str]:
        name, scale = item.table.name, item.weight.scale
        if name not in self._written:
            shape = (-1, 1) if scale.size > 1 else ()
            self._written[name] = (
                self._writer.initializer(f"{name}.table.q", item.weight.values),
                self._writer.initializer(f"{name}.table.scale", np.reshape(scale, shape)),
            )
        return self._written[name]
