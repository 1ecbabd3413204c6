"""A float network, ready to be quantized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.graph.float_graph import FloatGraph
from amctq.quant.layers import Topology


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatNetwork:
    """A network with its trained weights.

    Attributes:
        cell: ``mindspore.nn.Cell`` in inference mode, checkpoint loaded.
        graph: the same network as ONNX.
        topology: what there is to quantize in ``graph``.
        rebuild: gives the cell once more, for an engine that changes cells and cannot change them back.
        scratch: folder for working files of an engine, gone when the run ends.
    """

    cell: Any
    graph: FloatGraph
    topology: Topology
    rebuild: Callable[[], Any] | None = None
    scratch: Path | None = None
