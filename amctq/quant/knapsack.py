"""One option for each item, of least cost within a size: the multiple-choice knapsack, solved exactly.

The states of a dynamic program are (size, cost) of the items so far; one that another beats in both is dropped. So is
one that cannot lead to anything better than what is known: the items still to come cost at least what the linear
relaxation says, the lower convex hull of their options (Kellerer, Pferschy, Pisinger 2004, "Knapsack Problems", section
11.2). The points of that hull are themselves choices of least cost for their size, one for each Lagrange multiplier.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-12  # of sums of costs, so that no state is dropped by its last bit


@dataclass(frozen=True, kw_only=True)
class Option:
    """One option of an item.

    Attributes:
        size: in whole units, such as bytes.
        cost: finite.
    """

    size: int
    cost: float


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One option of each item.

    Attributes:
        picks: by item, the position of its option.
        size: of all.
        cost: of all.
    """

    picks: tuple[int, ...]
    size: int
    cost: float


@dataclass(frozen=True, kw_only=True)
class _Step:
    """From one corner of an item's hull to the next larger one."""

    gain: float  # of cost, for each unit of size
    item: int
    pick: int


def choice_of(items: Sequence[Sequence[Option]], picks: Sequence[int]) -> Choice:
    """The choice of these positions."""
    chosen = [options[pick] for options, pick in zip(items, picks, strict=True)]
    return Choice(
        picks=tuple(picks), size=sum(option.size for option in chosen), cost=sum(option.cost for option in chosen)
    )


def smallest_size(items: Sequence[Sequence[Option]]) -> int:
    """The size below which there is no choice."""
    return sum(min(option.size for option in options) for options in items)


def frontier(items: Sequence[Sequence[Option]]) -> tuple[Choice, ...]:
    """The choices of least size + λ · cost for all λ, the smallest first; each is of least cost for its size."""
    hulls = [_hull(options) for options in items]
    picks = [hull[0] for hull in hulls]
    found = [choice_of(items, picks)]
    for step in sorted(_steps(items, hulls), key=lambda step: -step.gain):  # stable: a hull's own steps stay in order
        picks[step.item] = step.pick
        found.append(choice_of(items, picks))
    return tuple(found)


def least_cost(items: Sequence[Sequence[Option]], limit: int) -> Choice:
    """The choice of least cost whose size is at most ``limit``; of several, one of the smallest.

    Raises:
        ValueError: no choice is so small.
    """
    corners = frontier(items)
    known = [corner for corner in corners if corner.size <= limit]
    if not known:
        message = f"the smallest choice has the size {corners[0].size}, and the limit is {limit}"
        raise ValueError(message)
    bound = min(corner.cost for corner in known)
    sizes, costs = np.zeros(1, np.int64), np.zeros(1)
    origins: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []  # by item: of each state, the one before it and pick
    for index, options in enumerate(items):
        own_sizes = np.array([option.size for option in options], np.int64)
        own_costs = np.array([option.cost for option in options])
        all_sizes, all_costs = (sizes[:, None] + own_sizes).ravel(), (costs[:, None] + own_costs).ravel()
        hopeful = np.flatnonzero(
            all_costs + _least_of(items[index + 1 :], limit - all_sizes) <= bound + _ROUNDING * (1 + abs(bound))
        )
        order = hopeful[np.lexsort((all_costs[hopeful], all_sizes[hopeful]))]
        best = np.minimum.accumulate(all_costs[order])
        kept = order[np.concatenate([[True], best[1:] < best[:-1]])]
        sizes, costs = all_sizes[kept], all_costs[kept]
        origins.append(np.divmod(kept, len(options)))
    state, picks = int(np.argmin(costs)), []
    for before, pick in reversed(origins):
        picks.append(int(pick[state]))
        state = int(before[state])
    return choice_of(items, picks[::-1])


def _hull(options: Sequence[Option]) -> list[int]:
    """Positions of the corners of the lower left convex hull, the smallest size first."""
    order = sorted(range(len(options)), key=lambda index: (options[index].size, options[index].cost))
    hull: list[int] = []
    for index in order:
        if hull and options[index].cost >= options[hull[-1]].cost:
            continue
        while len(hull) > 1 and _gain(options, hull[-2], hull[-1]) <= _gain(options, hull[-1], index):
            hull.pop()
        hull.append(index)
    return hull


def _gain(options: Sequence[Option], one: int, other: int) -> float:
    return (options[one].cost - options[other].cost) / (options[other].size - options[one].size)


def _steps(items: Sequence[Sequence[Option]], hulls: Sequence[Sequence[int]]) -> Iterator[_Step]:
    for item, (options, hull) in enumerate(zip(items, hulls, strict=True)):
        for one, other in itertools.pairwise(hull):
            yield _Step(gain=_gain(options, one, other), item=item, pick=other)


def _least_of(items: Sequence[Sequence[Option]], limits: NDArray[np.int64]) -> NDArray[np.float64]:
    """What items cost at least within each limit: the linear relaxation; infinite where they do not fit."""
    corners = frontier(items)
    found: NDArray[np.float64] = np.interp(
        limits, [corner.size for corner in corners], [corner.cost for corner in corners], left=np.inf
    )
    return found
