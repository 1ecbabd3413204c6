"""A part of a report, read as what it must be. What is missing or null is empty; what is of another kind is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NoReturn

from amctq.errors import InputError

_LARGEST = 1e60  # beyond float32; sums and squares of it are still float64


class Part:
    """One object of a report.

    Args:
        value: the object.
        place: what leads to it, for messages: the file and the keys.
    """

    def __init__(self, value: dict[str, Any], place: str) -> None:
        self._value, self._place = value, place

    def __bool__(self) -> bool:
        return bool(self._value)

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def part(self, key: str) -> Part:
        """The object under a key; empty where there is none."""
        return Part(self._taken(key, dict, "an object") or {}, f"{self._place}.{key}")

    def parts(self, key: str) -> list[Part]:
        """The objects in the list under a key."""
        return [
            Part(self._checked(item, dict, f"{key}[{index}]", "an object"), f"{self._place}.{key}[{index}]")
            for index, item in enumerate(self._list(key))
        ]

    def text(self, key: str, default: str = "") -> str:
        """The text under a key."""
        found = self._taken(key, str, "a text")
        return default if found is None else str(found)

    def texts(self, key: str) -> list[str]:
        """The texts in the list under a key."""
        return [str(self._checked(item, str, key, "texts")) for item in self._list(key)]

    def number(self, key: str) -> float | None:
        """The number under a key."""
        value = self._value.get(key)
        return None if value is None else self._number(key, value)

    def count(self, key: str) -> int | None:
        """The whole number under a key."""
        value = self.number(key)
        return None if value is None else round(value)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """The truth value under a key."""
        found = self._taken(key, bool, "true or false")
        return default if found is None else bool(found)

    def numbers(self, key: str) -> list[float]:
        """The numbers in the list under a key."""
        return [self._number(key, item) for item in self._list(key)]

    def pair(self, key: str) -> tuple[float, float] | None:
        """The two numbers under a key, the smaller first."""
        found = self.numbers(key)
        if not found:
            return None
        if len(found) != 2:
            self._refuse(key, "two numbers")
        return min(found), max(found)

    def said(self, key: str) -> str:
        """A text, number or truth value under a key, as text; empty for anything else."""
        value = self._value.get(key)
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, (str, int, float)) else ""

    def _list(self, key: str) -> list[Any]:
        found: list[Any] = self._taken(key, list, "a list") or []
        return found

    def _taken(self, key: str, kind: type, expected: str) -> Any:
        value = self._value.get(key)
        return None if value is None else self._checked(value, kind, key, expected)

    def _checked(self, value: Any, kind: type, key: str, expected: str) -> Any:
        if not isinstance(value, kind):
            self._refuse(key, expected)
        return value

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
            self._refuse(key, "a number")
        return float(value) + 0.0 if math.isfinite(value) else 0.0

    def _refuse(self, key: str, expected: str) -> NoReturn:
        message = f"{self._place}.{key}: expected {expected}"
        raise InputError(message, hint="it is no report of amctq, or one that was changed; run the command again")
