"""One thing that a run makes sure of before its files are published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check, and whether the run has passed it.

    Attributes:
        name: what must hold.
        passed: whether it does.
        detail: the figures that decided.
        hint: the next step where it failed; None for the command's own.
    """

    name: str
    passed: bool
    detail: str
    hint: str | None = None
