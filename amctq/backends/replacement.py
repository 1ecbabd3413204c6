"""Replaces operators and parameters of a live network, and undoes that."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Slot:
    """A place in a live network that holds an operator or a parameter.

    Attributes:
        cell: the cell.
        attribute: the name in the cell.
    """

    cell: Any
    attribute: str

    @property
    def key(self) -> tuple[int, str]:
        """Equal for the same place."""
        return id(self.cell), self.attribute

    @property
    def value(self) -> Any:
        """What the place holds now."""
        return getattr(self.cell, self.attribute)


class Replacement:
    """Puts cells in the place of operators, and parameters in the place of parameters.

    It writes into the cell's own tables, because setting the attribute would rename the parameters.

    Args:
        root: ``mindspore.nn.Cell``, the whole network.
        substitutes: the new cells and parameters.
    """

    def __init__(self, root: Any, substitutes: Mapping[Slot, Any]) -> None:
        self._root = root
        self._before = [(slot, slot.value) for slot in substitutes]
        for slot, substitute in substitutes.items():
            _put(slot, substitute)
        self._forget()

    def undo(self) -> None:
        """Put the old operators and parameters back."""
        for slot, value in self._before:
            _put(slot, value)
        self._forget()

    def _forget(self) -> None:
        self._root.compile_cache.clear()  # or graph mode would use the old compilation


@contextlib.contextmanager
def replaced(root: Any, substitutes: Mapping[Slot, Any]) -> Iterator[None]:
    """Replace inside the block only."""
    replacement = Replacement(root, substitutes)
    try:
        yield
    finally:
        replacement.undo()


def _put(slot: Slot, value: Any) -> None:
    from mindspore import Parameter, nn

    cell, name = slot.cell, slot.attribute
    if isinstance(value, Parameter):
        cell._params[name] = value
    elif isinstance(value, nn.Cell):
        vars(cell).pop(name, None)
        cell._cells[name] = value
    else:
        cell._cells.pop(name, None)
        vars(cell)[name] = value
