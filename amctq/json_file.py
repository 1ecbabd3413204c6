"""JSON files that people and other programs write, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amctq.errors import InputError


def read_json_object(path: Path, *, what: str, option: str, takes: str) -> dict[str, Any]:
    """The object that a file holds, keys in their order.

    Args:
        path: the file, UTF-8.
        what: what it should be, for messages.
        option: where its path was given, for messages.
        takes: what that option takes, for messages.

    Raises:
        InputError: it cannot be read, is no JSON, is no object, has a key twice, or holds what no file could take
            again: a number beyond float64, half a surrogate pair.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            shown = repeated.encode(errors="backslashreplace").decode()
            message = f"{path}: {shown} stands there twice"
            raise InputError(message, hint="remove one of the two")
        return found

    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except OSError as error:
        message = f"cannot read the {what} {path}: {error.strerror}"
        raise InputError(message, hint=f"check the path given with {option}") from error
    except (ValueError, RecursionError) as error:
        message = f"{path} is no JSON: {error}"
        raise InputError(message, hint=f"{option} takes {takes}") from error
    if not isinstance(value, dict):
        message = f"{path} holds a {type(value).__name__}, expected a JSON object"
        raise InputError(message, hint=f"{option} takes {takes}")
    return value


def _no_constant(name: str) -> float:
    message = f"{name} is no JSON number"
    raise ValueError(message)
