"""What there is to quantize in a network, by the names of its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mindspore
import numpy as np
from mindspore import nn


@dataclass(frozen=True)
class Layer:
    """A Conv2d or Dense.

    Attributes:
        name: of the cell.
        kind: "Conv2d" or "Dense".
        parent: the cell that holds it, under ``key``.
        cell: the layer itself.
        norm: the BatchNorm that comes next in the same parent, with its key, or None.
    """

    name: str
    kind: str
    parent: Any
    key: str
    cell: Any
    norm: tuple[str, Any] | None


def find_layers(network: Any) -> dict[str, Layer]:
    """The layers that the manual supports, in the order of the cells."""
    if not isinstance(network, nn.Cell):
        raise TypeError(f"network must be a mindspore.nn.Cell, not {type(network).__name__}")
    found: dict[str, Layer] = {}
    for prefix, parent in network.cells_and_names():
        children = list(parent.name_cells().items())
        for index, (key, cell) in enumerate(children):
            kind = _kind(cell)
            if kind is None:
                continue
            name = f"{prefix}.{key}" if prefix else key
            following = children[index + 1] if index + 1 < len(children) else None
            norm = following if kind == "Conv2d" and following and isinstance(following[1], nn.BatchNorm2d) else None
            found[name] = Layer(name, kind, parent, key, cell, norm)
    return found


def _kind(cell: Any) -> str | None:
    if type(cell) is nn.Dense:
        return "Dense"
    if type(cell) is not nn.Conv2d:
        return None
    plain = tuple(np.ravel(cell.dilation)) in {(1,), (1, 1), (1, 1, 1, 1)}
    return "Conv2d" if plain and cell.group in {1, cell.in_channels} else None


def put(parent: Any, key: str, cell: Any) -> None:
    """Let ``parent`` hold ``cell`` under ``key``; no parameter changes its name."""
    parent._cells[key] = cell
    if isinstance(parent, nn.SequentialCell):  # it runs a list of its own
        parent.cell_list = type(parent.cell_list)(parent._cells.values())


def check_inputs(input_data: tuple[Any, ...]) -> list[Any]:
    """The example inputs as tensors."""
    if not input_data:
        raise ValueError("input_data is missing: give one array for each input of the network")
    tensors = []
    for data in input_data:
        if not isinstance(data, (np.ndarray, mindspore.Tensor)):
            raise TypeError(f"input_data must be arrays or Tensors, not {type(data).__name__}")
        tensors.append(data if isinstance(data, mindspore.Tensor) else mindspore.Tensor(data))
    return tensors


def check_mode() -> None:
    """Refuse what the real one cannot do either."""
    if mindspore.get_context("mode") != mindspore.GRAPH_MODE:
        raise RuntimeError("amct_mindspore works in GRAPH_MODE only")
