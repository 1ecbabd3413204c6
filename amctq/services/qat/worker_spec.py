"""A request on its way to the workers of a distributed run: to JSON and back."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from amctq.services.qat.request import QatRequest


def worker_spec(request: QatRequest, *, size: int, digests: bool) -> dict[str, Any]:
    """What a worker must know, ready for JSON.

    Args:
        request: what the ranks train.
        size: how many there are.
        digests: see ``Worker``.
    """
    fields = {name: _plain(value) for name, value in vars(request).items()}
    return {"request": fields, "size": size, "digests": digests}


def read_request(fields: Mapping[str, Any]) -> QatRequest:
    """The request that ``worker_spec`` has written."""
    hints = get_type_hints(QatRequest)
    return QatRequest(**{name: _typed(hints[name], value) for name, value in fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _typed(hint: Any, value: Any) -> Any:
    """A value of JSON as the field's type has it; of several types the first that is no None."""
    if value is None:
        return None
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple:
        return tuple(_typed(get_args(hint)[0], item) for item in value)
    return hint(value) if isinstance(hint, type) and issubclass(hint, (Enum, Path)) else value
