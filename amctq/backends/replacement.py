"""Putting other cells in the place of a live network's layers, and taking them out again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from amctq.errors import NotSimulatedError
from amctq.quant.layers import LayerKind, QuantizableLayer


def replaceable_cells(cell: Any, layers: Iterable[QuantizableLayer]) -> dict[str, tuple[Any, Any]]:
    """For each layer, by name, the cell to replace and the BatchNorm's cell, or None.

    Raises:
        NotSimulatedError: one of them does something else than the layer alone.
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
    """The cell that owns a parameter: of ``kind``, or of a subclass that computes the same."""
    owner = owners.get(parameter)
    if not isinstance(owner, kind) or type(owner).construct is not kind.construct:
        found = "no cell" if owner is None else f"a cell of class {type(owner).__name__}"
        message = f"{parameter} belongs to {found}, expected nn.{kind.__name__}"
        raise NotSimulatedError(message)
    return owner


class Replacement:
    """Other cells in the place of children of ``root``, found by ``id``, wherever these are held.

    Written into ``_cells``, because setting the attribute would rename the parameters of what is put there.

    Args:
        root: ``mindspore.nn.Cell``.
        substitutes: by ``id`` of the cell that is replaced.
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
        """Put the former cells back."""
        for part, name, child in self._places:
            _put(part, name, child)
        self._forget()

    def _forget(self) -> None:
        self._root.compile_cache.clear()  # of the graph mode, which would go on with what it compiled last


@contextlib.contextmanager
def replaced(root: Any, substitutes: Mapping[int, Any]) -> Iterator[None]:
    """A replacement for the time of a block."""
    replacement = Replacement(root, substitutes)
    try:
        yield
    finally:
        replacement.undo()


def _put(part: Any, name: str, child: Any) -> None:
    from mindspore import nn

    part._cells[name] = child
    if isinstance(part, nn.SequentialCell):  # it runs a list of its own
        part.cell_list = type(part.cell_list)(part._cells.values())
