"""What is passed over in a dataset: hidden and system files and folders, and what is no image. It is always said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_SHOWN = 5
# What systems and programs leave in any folder, and its archives; names that begin with a dot are hidden anyway.
_SYSTEM = frozenset(
    (
        "__macosx",
        "icon\r",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "$recycle.bin",
        "recycler",
        "found.000",
        "system volume information",
        "lost+found",
        "network trash folder",
        "temporary items",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "#recycle",
        "#snapshot",
        "~snapshot",
        "__pycache__",
    )
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name (without its folder) is hidden or left by a system."""
    folded = name.casefold()
    return name.startswith(".") or folded in _SYSTEM or folded.startswith("thumbs.db:")


@dataclass
class PassedOver:
    """Names of what was passed over, by reason."""

    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Pass over ``name``, for a reason that reads after a number, such as ``hidden or system files``."""
        self.names.setdefault(reason, []).append(name)

    def notices(self, where: str) -> tuple[str, ...]:
        """One line for the user, with examples of each reason; none where nothing was passed over."""
        if not self.names:
            return ()
        parts = [f"{len(names):,} {reason} ({shown(names)})" for reason, names in self.names.items()]
        return (f"{where}: passed over {', '.join(parts)}",)


def shown(names: Iterable[str]) -> str:
    """The first few names, as they can be printed."""
    listed = list(names)
    more = ", …" if len(listed) > _SHOWN else ""
    return ", ".join(name.encode(errors="backslashreplace").decode() for name in listed[:_SHOWN]) + more
