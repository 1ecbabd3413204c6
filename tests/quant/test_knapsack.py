"""Which width each layer gets: against every possible choice, and on sizes of real networks."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

from amctq.quant.knapsack import Choice, Option, choice_of, frontier, least_cost, smallest_size

WIDTHS = (2, 3, 4, 6, 8)


def _items(random: np.random.Generator, layers: int, *, convex: bool, equal: bool = False) -> list[list[Option]]:
    found = []
    for _ in range(layers):
        weights = 8 if equal else int(random.integers(1, 60))
        sizes = [-(-weights * bits // 8) for bits in WIDTHS]
        costs = random.random() * 4.0 ** -np.array(WIDTHS) if convex else random.random(len(WIDTHS)).round(1)
        found.append([Option(size=size, cost=float(cost)) for size, cost in zip(sizes, costs, strict=True)])
    return found


def _every(items: list[list[Option]]) -> list[Choice]:
    return [choice_of(items, picks) for picks in itertools.product(*(range(len(options)) for options in items))]


@pytest.mark.parametrize("convex", [True, False])
@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_better(seed: int, *, convex: bool, equal: bool) -> None:
    items = _items(np.random.default_rng(seed), 5, convex=convex, equal=equal)
    every = _every(items)
    smallest, largest = smallest_size(items), max(choice.size for choice in every)
    assert smallest == min(choice.size for choice in every)
    for limit in np.unique(np.linspace(smallest, largest, 23).astype(int)).tolist():
        best = min(choice.cost for choice in every if choice.size <= limit)
        found = least_cost(items, limit)
        assert found.size <= limit
        assert found.cost == pytest.approx(best, abs=1e-12)
        assert found == choice_of(items, found.picks)
    with pytest.raises(ValueError, match=f"size {smallest}, and the limit is {smallest - 1}"):
        least_cost(items, smallest - 1)


@pytest.mark.parametrize("seed", range(8))
def test_every_corner_of_the_frontier_is_best_for_its_size(seed: int) -> None:
    items = _items(np.random.default_rng(seed), 5, convex=seed % 2 == 0)
    corners = frontier(items)
    sizes, costs = [corner.size for corner in corners], [corner.cost for corner in corners]
    assert sizes == sorted(set(sizes))
    assert costs == sorted(costs, reverse=True)
    assert sizes[0] == smallest_size(items)
    assert costs[-1] == pytest.approx(sum(min(option.cost for option in options) for options in items))
    every = _every(items)
    for corner in corners:
        assert corner.cost == pytest.approx(min(choice.cost for choice in every if choice.size <= corner.size))


def test_between_two_corners_it_is_better_than_the_smaller_one() -> None:
    items = [[Option(size=1, cost=9.0), Option(size=4, cost=1.0)], [Option(size=1, cost=3.0), Option(size=3, cost=1.5)]]
    assert [corner.size for corner in frontier(items)] == [2, 5, 7]
    assert least_cost(items, 4).picks == (0, 1)  # no Lagrange multiplier gives it


def test_sizes_of_resnet50_take_no_time() -> None:
    random = np.random.default_rng(3)
    weights = random.integers(64, 2048, 54) * random.choice([64, 576, 1152], 54)
    items = [
        [Option(size=int(-(-count * bits // 8)), cost=float(scale * 4.0**-bits)) for bits in WIDTHS]
        for count, scale in zip(weights, random.lognormal(0, 1.5, 54), strict=True)
    ]
    limit = int(weights.sum() * 3.3 / 8)
    start = time.process_time()
    found = least_cost(items, limit)
    assert time.process_time() - start < 10
    corners = frontier(items)
    below = max(corner.cost for corner in corners if corner.size > limit)
    above = min(corner.cost for corner in corners if corner.size <= limit)
    assert below < found.cost <= above
    assert found == least_cost(items, limit)
