"""JSON files that people and other programs write, read strictly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from amctq.errors import InputError, nearest
from amctq.input_file import read_input, text_of

_DEEPEST = 64
_MOST_DIGITS = 308  # what float64 can hold


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
        InputError: it is no JSON, is no object, has a duplicate key, is nested too deeply, or holds what no file could
            take again: a number beyond float64, half a surrogate pair.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            message = f"{source}: duplicate key {_first_repeated(key for key, _ in pairs)}"
            raise InputError(message, hint="remove one of the two")
        return found

    try:
        value = json.loads(
            text_of(content, source), object_pairs_hook=unique, parse_int=_whole, parse_constant=_no_constant
        )
        if _is_deep(value):
            raise RecursionError
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        message = f"{source} is nested more than {_DEEPEST} levels deep"
        raise InputError(message, hint=f"{option} takes {takes}") from error
    except ValueError as error:
        message = f"{source} is no JSON: {error}"
        raise InputError(message, hint=f"{option} takes {takes}") from error
    if not isinstance(value, dict):
        message = f"{source} holds a {type(value).__name__}, expected a JSON object"
        raise InputError(message, hint=f"{option} takes {takes}")
    return value


class JsonReader:
    """One object of a file; a refusal names the key.

    Args:
        value: the object.
        place: what comes before a key in messages: the file, and the keys that lead to the object.
        keys: those that it may have; None where the caller checks them.
    """

    def __init__(self, value: dict[str, Any], place: str, *, keys: Sequence[str] | None = None) -> None:
        self.value, self.place = value, place
        if keys is not None:
            for key in self.others(keys):
                self.fail(key, "unknown key", nearest(key, keys))

    def inside(self, key: str, keys: Sequence[str]) -> JsonReader:
        """The object under ``key``, empty where it is not there."""
        return JsonReader(self.take(key, dict, {}), f"{self.place}{key}.", keys=keys)

    def others(self, known: Sequence[str]) -> dict[str, Any]:
        """What the object has under keys that are not ``known``."""
        return {key: value for key, value in self.value.items() if key not in known}

    def take(self, key: str, kind: type, default: Any) -> Any:
        """The value under ``key``, which must be of ``kind``; a float may be written as a whole number."""
        value = self.value.get(key, default)
        if value is default:
            return default
        accepted = (int, float) if kind is float else (kind,)
        if isinstance(value, int) and abs(value) > 1 << 53:
            self.fail(key, "found a number of that size", f"expected {_KINDS[kind]}")
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, f"found {json.dumps(value)}", f"expected {_KINDS[kind]}")
        return value

    def choice(self, key: str, options: Sequence[Any], default: Any, hint: str | None = None) -> Any:
        """The value under ``key``, which must be one of ``options``."""
        value = self.take(key, type(default), default)
        if value not in options:
            self.fail(key, f"found {value!r}", hint or f"expected one of {', '.join(map(str, options))}")
        return value

    def only(self, key: str, value: int | str | list[Any]) -> None:
        """Refuse any value but the one that amctq has."""
        found = self.take(key, type(value), value)
        if found != value:
            self.fail(key, f"found {_format(found)}", f"amctq has {_format(value)} only")

    def fail(self, key: str, found: str, hint: str) -> NoReturn:
        """Refuse the file."""
        message = f"{self.place}{key}: {found}"
        raise InputError(message, hint=hint)


def _first_repeated(keys: Iterable[str]) -> str:
    known: set[str] = set()
    for key in keys:
        if key in known:
            return key.encode(errors="backslashreplace").decode()
        known.add(key)
    raise AssertionError


def _is_deep(value: Any) -> bool:
    """Whether a value has more levels than any file of a user: what later code does with it is recursive."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        message = f"found a whole number of {len(digits.lstrip('-')):,} digits"
        raise ValueError(message)
    return int(digits)


def _format(value: object) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)


def _no_constant(name: str) -> float:
    message = f"{name} is no JSON number"
    raise ValueError(message)


_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "an object",
}
