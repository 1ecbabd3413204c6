"""Replaces layers of a live network by other cells, and undoes that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from amctq.errors import NoSimulationError
from amctq.quant.layers import LayerKind, QuantizableLayer


def replaceable_cells(cell: Any, layers: Iterable[QuantizableLayer]) -> dict[str, tuple[Any, Any]]:
    """By name of the layer: the cell to replace, and the cell of its BatchNorm or None.

    Raises:
        NoSimulationError: a cell does not compute just this layer.
    """
    from mindspore import nn

    owners = {
        parameter.name: part
        for _, part in cell.cells_and_names()
        for parameter in part.parameters_dict(recurse=False).values()
    }
    found = {}
    for layer in layers:
        kind = nn.Conv2d if layer.kind is LayerKind.CONV else nn.Dense
        norm = None
        if layer.batch_norm is not None:
            norm = _owner(owners, layer.batch_norm.gamma, nn.BatchNorm2d)
        found[layer.name] = (_owner(owners, layer.weight, kind), norm)
    return found


def _owner(owners: Mapping[str, Any], parameter: str, kind: Any) -> Any:
    """The cell that owns a parameter. It is a ``kind``, or a subclass that computes the same."""
    owner = owners.get(parameter)
    if not isinstance(owner, kind) or type(owner).construct is not kind.construct:
        found = "no cell" if owner is None else f"a cell of class {type(owner).__name__}"
        message = f"{parameter} belongs to {found}, expected nn.{kind.__name__}"
        raise NoSimulationError(message)
    return owner


class Replacement:
    """Replaces cells inside ``root`` in every place that holds them.

    It writes into ``_cells``, because setting the attribute would rename the parameters of the new cell.

    Args:
        root: ``mindspore.nn.Cell``.
        substitutes: the new cells, by ``id`` of the cell to replace.
    """

    def __init__(self, root: Any, substitutes: Mapping[int, Any]) -> None:
        self._root = root
        self._places = [
            (part, name, child)
            for _, part in root.cells_and_names()
            for name, child in part._cells.items()
            if id(child) in substitutes
        ]
        for part, name, child in self._places:
            _put(part, name, substitutes[id(child)])
        self._forget()

    def undo(self) -> None:
        """Put the old cells back."""
        for part, name, child in self._places:
            _put(part, name, child)
        self._forget()

    def _forget(self) -> None:
        self._root.compile_cache.clear()  # or graph mode would use the old compilation


@contextlib.contextmanager
def replaced(root: Any, substitutes: Mapping[int, Any]) -> Iterator[None]:
    """Replace the cells inside the block only."""
    replacement = Replacement(root, substitutes)
    try:
        yield
    finally:
        replacement.undo()


def _put(part: Any, name: str, child: Any) -> None:
    from mindspore import nn

    part._cells[name] = child
    if isinstance(part, nn.SequentialCell):  # it calls the cells of its own list
        part.cell_list = type(part.cell_list)(part._cells.values())
