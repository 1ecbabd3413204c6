"""A user's names: what a file calls the parameters of a network, where it has another convention."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from amctq.errors import InputError, nearest
from amctq.json_file import read_json_object

OPTION = "--name-map"
_TAKES = 'a JSON object: {"name in the network": "name in the checkpoint"}; names that end in a dot are beginnings'


@dataclass(frozen=True, kw_only=True)
class NameMap:
    """Names of a checkpoint by name of the network. Both end in a dot, or are empty, for all names that begin so.

    Attributes:
        path: the file that it was read from.
        names: as the file has them.
    """

    path: Path
    names: Mapping[str, str]

    def apply(self, names: Mapping[str, str]) -> dict[str, str]:
        """What the parameters of a network are called in the checkpoint.

        Args:
            names: the same by a convention, by the network's name.
        """
        beginnings = sorted(filter(_is_beginning, self.names), key=len, reverse=True)
        found = {}
        for own, name in names.items():
            begin = next((begin for begin in beginnings if own.startswith(begin) and name.startswith(begin)), None)
            if own in self.names:
                found[own] = self.names[own]
            else:
                found[own] = name if begin is None else f"{self.names[begin]}{name[len(begin) :]}"
        return found

    def check(self, network: Collection[str], stored: Collection[str]) -> None:
        """Refuse a name that is not there.

        Args:
            network: the names of the network.
            stored: the names of the checkpoint.

        Raises:
            InputError: the network or the checkpoint has no such name.
        """
        for own, name in self.names.items():
            if own not in network and not (_is_beginning(own) and any(one.startswith(own) for one in network)):
                self._fail(own, f"no parameter of the network is called {own}", own, network)
            if not any(one == name or one.endswith(f".{name}") for one in stored) and not (
                _is_beginning(name) and any(one.startswith(name) or f".{name}" in one for one in stored)
            ):
                self._fail(own, f"no tensor of the checkpoint is called {name}", name, stored)

    def _fail(self, key: str, found: str, name: str, names: Iterable[str]) -> NoReturn:
        message = f"{self.path}: {key!r}: {found}"
        raise InputError(message, hint=nearest(name, names))


def read_name_map(path: Path | None) -> NameMap | None:
    """The map in a file; None without one.

    Raises:
        InputError: it cannot be read, or is no JSON object of names.
    """
    if path is None:
        return None
    names = read_json_object(path, what="name map", option=OPTION, takes=_TAKES)
    for own, name in names.items():
        if not isinstance(name, str) or _is_beginning(own) != _is_beginning(name):
            message = f"{path}: {own!r}: found {name!r:.80}, expected a name of the checkpoint"
            raise InputError(message, hint=f"{OPTION} takes {_TAKES}; both names end in a dot, or none")
    return NameMap(path=path, names=names)


def _is_beginning(name: str) -> bool:
    return not name or name.endswith(".")
