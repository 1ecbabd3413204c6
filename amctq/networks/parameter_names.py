"""What PyTorch calls the parameters of a network: told by the cells that own them, not by what a file seems to say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amctq.networks.tensor_file import Shape

_SCALE = {"gamma": "weight", "beta": "bias"}
_TABLE = {"embedding_table": "weight"}
_FEED_FORWARD = {"dense1": "linear1", "dense2": "linear2"}
_BATCH_NORM = {**_SCALE, "moving_mean": "running_mean", "moving_variance": "running_var"}
# Of MindSpore's cells, by class: PyTorch's name of an attribute that it calls otherwise. All others, such as those of
# convolutions, Dense, recurrent cells, attention and mindspore.mint, have the same names.
_RENAMED: dict[str, Mapping[str, str]] = {
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "SyncBatchNorm"), _BATCH_NORM),
    **dict.fromkeys(("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"), _BATCH_NORM),
    **dict.fromkeys(("LayerNorm", "GroupNorm"), _SCALE),
    **dict.fromkeys(("Embedding", "EmbeddingLookup"), _TABLE),
    "PReLU": {"w": "weight"},
}
# The same of the cells inside a cell; "" where PyTorch's module has their parameters itself.
_INNER: dict[str, Mapping[str, str]] = {
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerDecoderLayer"), _FEED_FORWARD),
    "BatchNorm3d": {"bn2d": ""},
}
_ONE_AXIS_LESS = frozenset({"Conv1d", "Conv1dTranspose"})  # MindSpore computes them as Conv2d: weights (O, I, 1, K)


@dataclass(frozen=True, kw_only=True)
class Convention:
    """Names and shapes that the parameters of a network have in a file.

    Attributes:
        name: whose convention it is.
        names: by the network's name of the parameter.
        shapes: the same.
    """

    name: str
    names: Mapping[str, str]
    shapes: Mapping[str, Shape]

    @property
    def expected(self) -> dict[str, Shape]:
        """Shapes by name in the file."""
        return {self.names[own]: shape for own, shape in self.shapes.items()}


def own_convention(network: Any) -> Convention:
    """MindSpore's: the names and shapes of the network itself."""
    shapes = {parameter.name: tuple(parameter.shape) for parameter in network.get_parameters()}
    return Convention(name="MindSpore", names={name: name for name in shapes}, shapes=shapes)


def pytorch_convention(network: Any) -> Convention:
    """PyTorch's, for modules that are put together as the network's cells are."""
    own = own_convention(network)
    names, shapes = dict(own.names), dict(own.shapes)
    cells = dict(network.cells_and_names())
    for path, cell in cells.items():
        renamed = _of_kind(cell, _RENAMED)
        for attribute, parameter in cell.parameters_and_names(expand=False):
            head = parameter.name.rpartition(".")[0]
            if head == path:
                names[parameter.name] = _joined(_module_path(path, cells), renamed.get(attribute, attribute))
            elif attribute in renamed:  # named otherwise by whoever wrote the network
                names[parameter.name] = _joined(head, renamed[attribute])
            shape = tuple(parameter.shape)
            if _ONE_AXIS_LESS & set(_kinds(cell)) and len(shape) == 4 and shape[2] == 1:
                shapes[parameter.name] = (*shape[:2], shape[3])
    if len(set(names.values())) < len(names):  # two of the network's parameters would be one of the file
        return own
    return Convention(name="PyTorch", names=names, shapes=shapes)


def _module_path(path: str, cells: Mapping[str, Any]) -> str:
    """PyTorch's path of the cell at ``path``."""
    found, before = "", ""
    for part in filter(None, path.split(".")):
        found = _joined(found, _of_kind(cells.get(before), _INNER).get(part, part))
        before = _joined(before, part)
    return found


def _joined(*parts: str) -> str:
    return ".".join(filter(None, parts))


def _of_kind(cell: Any, table: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """What the table says of the class of MindSpore that a cell is of; nothing for any other."""
    return next((table[name] for name in _kinds(cell) if name in table), {})


def _kinds(cell: Any) -> list[str]:
    """The classes of MindSpore that a cell is of, the nearest first."""
    return [kind.__name__ for kind in type(cell).__mro__ if kind.__module__.startswith("mindspore.nn.")]
