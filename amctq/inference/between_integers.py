"""Which operators of an optimised graph are computed in float between two that are computed in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FloatOperator:
    """An operator that is computed in float, between operators that are computed in integers.

    Attributes:
        node: the tensor that it yields, which has the path of its cell in its name.
        op: its type in the optimised graph.
        reason: why it is not computed in integers.
    """

    node: str
    op: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A node of an optimised graph.

    Attributes:
        inputs: what it reads.
        outputs: what it yields.
        integer: it multiplies or adds integers.
        in_float: it computes floats; neither this nor ``integer`` where it only moves values.
    """

    inputs: frozenset[str]
    outputs: frozenset[str]
    integer: bool
    in_float: bool


def between_integers(steps: Sequence[Step]) -> list[int]:
    """The places of the steps in float that depend on an integer step, and that another one depends on, in order."""
    behind: set[str] = set()
    for step in steps:
        if step.integer or not behind.isdisjoint(step.inputs):
            behind |= step.outputs
    before: set[str] = set()
    found = []
    for place in reversed(range(len(steps))):
        step = steps[place]
        wanted = not before.isdisjoint(step.outputs)
        if step.integer or wanted:
            before |= step.inputs
        if wanted and step.in_float and not behind.isdisjoint(step.inputs):
            found.append(place)
    return found[::-1]
