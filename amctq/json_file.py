"""JSON files that people and other programs write, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amctq.errors import InputError
from amctq.input_file import read_input, text_of


def read_json_object(path: Path, *, what: str, option: str, takes: str) -> dict[str, Any]:
    """The object that a file holds, as ``parse_json_object`` gives it.

    Args:
        path: the file.
        what: what it should be, for messages.
        option: where its path was given, for messages.
        takes: what that option takes, for messages.

    Raises:
        InputError: it cannot be read, or as there.
    """
    return parse_json_object(read_input(path, what=what, option=option), str(path), option=option, takes=takes)


def parse_json_object(content: bytes, source: str, *, option: str, takes: str) -> dict[str, Any]:
    """The object in the content of a file, keys in their order.

    Args:
        content: of the file.
        source: what messages call the file.
        option: where its path was given, for messages.
        takes: what that option takes, for messages.

    Raises:
        InputError: it is no JSON, is no object, has a key twice, or holds what no file could take
            again: a number beyond float64, half a surrogate pair.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            shown = repeated.encode(errors="backslashreplace").decode()
            message = f"{source}: duplicate key {shown}"
            raise InputError(message, hint="remove one of the two")
        return found

    try:
        value = json.loads(text_of(content), object_pairs_hook=unique, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        message = f"{source} is no JSON: {error}"
        raise InputError(message, hint=f"{option} takes {takes}") from error
    if not isinstance(value, dict):
        message = f"{source} holds a {type(value).__name__}, expected a JSON object"
        raise InputError(message, hint=f"{option} takes {takes}")
    return value


def _no_constant(name: str) -> float:
    message = f"{name} is no JSON number"
    raise ValueError(message)
