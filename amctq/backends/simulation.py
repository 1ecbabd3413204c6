"""The engine's own quantized network: MindSpore's operators in the float network's place.

Inside a block, every quantized nn.Conv2d and nn.Dense of the live network is replaced by a quantized cell, and the
BatchNorm that is folded into it by an identity. What runs there is compared with the exported ONNX file, and it is
what MindIR is exported from.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from amctq.errors import NotSimulatedError
from amctq.quant.integer import IntegerLayer
from amctq.quant.topology import LayerKind, QuantizableLayer


@contextlib.contextmanager
def fake_quantized(cell: Any, layers: tuple[IntegerLayer, ...]) -> Iterator[Any]:
    """Make ``cell`` compute the quantized network inside the block; it is as before afterwards.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode.
        layers: its quantized layers.

    Raises:
        NotSimulatedError: a layer is no nn.Conv2d or nn.Dense, or its BatchNorm no nn.BatchNorm2d.
    """
    from mindspore import nn

    from amctq.backends.cells import QuantizedConv2d, QuantizedDense

    cells = replaceable_cells(cell, [item.layer for item in layers])
    substitutes: dict[int, Any] = {}
    for item in layers:
        own, norm = cells[item.layer.name]
        substitute = QuantizedConv2d if item.layer.kind is LayerKind.CONV else QuantizedDense
        substitutes[id(own)] = substitute(own, item)
        if norm is not None:
            substitutes[id(norm)] = nn.Identity()
    with _replaced(cell, substitutes):
        yield cell


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


@contextlib.contextmanager
def _replaced(root: Any, substitutes: Mapping[int, Any]) -> Iterator[None]:
    """Put other cells in the place of children of ``root``, found by ``id``, wherever these are held.

    Written into ``_cells``, because setting the attribute would rename the parameters of what is put there.
    """
    places = [
        (part, name, child)
        for _, part in root.cells_and_names()
        for name, child in part._cells.items()
        if id(child) in substitutes
    ]
    try:
        for part, name, child in places:
            _put(part, name, substitutes[id(child)])
        yield
    finally:
        for part, name, child in places:
            _put(part, name, child)
        root.compile_cache.clear()  # of the graph mode, which would go on with what it compiled last


def _put(part: Any, name: str, child: Any) -> None:
    from mindspore import nn

    part._cells[name] = child
    if isinstance(part, nn.SequentialCell):  # it runs a list of its own
        part.cell_list = type(part.cell_list)(part._cells.values())
