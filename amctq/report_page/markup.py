"""HTML and SVG as text, escaped where they are made."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

_VOID = frozenset({"meta", "img", "br", "line", "rect", "circle", "path", "polyline"})
# No HTML has them, not even escaped; a name in a damaged file may.
_CONTROLS = {code: "�" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = str | Markup | Iterable["Child"] | None


def escaped(text: str) -> Markup:
    """Text as HTML; Markup stays as it is."""
    return text if isinstance(text, Markup) else Markup(html.escape(text.translate(_CONTROLS)))


def joined(*children: Child) -> Markup:
    """Children one after the other; None is nothing."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, str):
            parts.append(escaped(child))
        elif child is not None:
            parts.append(joined(*child))
    return Markup("".join(parts))


def element(name: str, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: its content.
        attributes: ``class_`` is class, ``data_raw`` data-raw; numbers are written short; None and False are left out.
    """
    written = [
        f" {key}" if value is True else f' {key}="{escaped(value) if isinstance(value, str) else short(value)}"'
        for key, value in ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
        if value is not None and value is not False
    ]
    opened = f"<{name}{''.join(written)}"
    if name in _VOID:
        return Markup(f"{opened}/>")
    return Markup(f"{opened}>{joined(*children)}</{name}>")


def short(value: float) -> str:
    """A coordinate with at most two digits behind the point."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
