"""The request for the workers of a distributed run: written as JSON, and read again."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from amctq.services.qat.request import QatRequest


def worker_spec(request: QatRequest, *, size: int, digests: bool) -> dict[str, Any]:
    """The specification of a worker, ready for JSON.

    Args:
        request: the request that all workers run.
        size: number of workers.
        digests: see ``Worker``.
    """
    fields = {name: _plain(value) for name, value in vars(request).items()}
    return {"request": fields, "size": size, "digests": digests}


def read_request(fields: Mapping[str, Any]) -> QatRequest:
    """Read the request that ``worker_spec`` has written."""
    hints = get_type_hints(QatRequest)
    return QatRequest(**{name: _typed(hints[name], value) for name, value in fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _typed(hint: Any, value: Any) -> Any:
    """Convert a JSON value to the type of its field; of a union, to the first type that is not None."""
    if value is None:
        return None
    if get_origin(hint) in {Union, types.UnionType}:
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple:
        return tuple(_typed(get_args(hint)[0], item) for item in value)
    return hint(value) if isinstance(hint, type) and issubclass(hint, (Enum, Path)) else value
