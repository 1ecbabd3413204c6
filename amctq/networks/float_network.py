"""The float network that a back end quantizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from amctq.graph.float_graph import FloatGraph
from amctq.leftovers import temporary_folder
from amctq.networks.mindir import possible_batch
from amctq.quant.layers import Topology


@dataclass(frozen=True, kw_only=True, eq=False)
class FloatNetwork:
    """A float network with its trained weights.

    Attributes:
        cell: ``mindspore.nn.Cell`` in inference mode, checkpoint loaded; None where the network is a file.
        graph: the same network as ONNX.
        topology: the layers of ``graph`` that can be quantized.
        rebuild: builds the same cell again, for a back end that changes cells and cannot undo it.
        scratch: folder for temporary files of a back end; it is removed at the end of the run.
        unlike: how ``cell`` differs from the graph in pynative mode, where only graph mode computes it; else None.
    """

    cell: Any
    graph: FloatGraph
    topology: Topology
    rebuild: Callable[[], Any] | None = None
    scratch: Path | None = None
    unlike: str | None = None

    @property
    def live_cell(self) -> Any:
        """The cell, where Python can run it; None where it computes only as a graph, or the network is a file."""
        return self.cell if self.unlike is None else None

    @cached_property
    def mindir_batch(self) -> int | None:
        """The batch of its MindIR files: see ``possible_batch``, which is tried once.

        Raises:
            InputError: MindSpore cannot export or run it as MindIR.
        """
        if self.scratch is not None:
            return possible_batch(self.cell, self.graph.inputs, self.scratch)
        with temporary_folder() as folder:
            return possible_batch(self.cell, self.graph.inputs, folder)
