"""A check that a run makes before it publishes its files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check and its result.

    Attributes:
        name: what must hold.
        passed: whether it holds.
        detail: the figures that decided it.
        hint: the next step if it failed; None for the command's general hint.
    """

    name: str
    passed: bool
    detail: str
    hint: str | None = None
