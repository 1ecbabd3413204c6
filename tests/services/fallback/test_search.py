"""Which layers fall back: found by bisection, with few tries, and none for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from amctq.services.fallback.search import MOST_TRIES, Choice, Search

LAYERS = 57
COSTS = {f"layer{number}": float(LAYERS - number) for number in range(LAYERS)}
WEIGHTS = {name: 10 + number for number, name in enumerate(COSTS)}


class Asked:
    """Counts the tries."""

    def __init__(self, meets: Callable[[Choice], bool]) -> None:
        self.choices: list[Choice] = []
        self._meets = meets

    def __call__(self, choice: Choice) -> bool:
        self.choices.append(choice)
        return self._meets(choice)


def _find(asked: Asked, narrow: bool = False, costs: Mapping[str, float] = COSTS) -> Choice | None:
    names = set(costs) if narrow else set()
    return Search(meets=asked, rank=lambda: costs, weights=WEIGHTS, narrow=names).find()


def test_a_good_network_takes_one_try() -> None:
    asked = Asked(lambda choice: True)

    def rank() -> Mapping[str, float]:
        raise AssertionError

    assert Search(meets=asked, rank=rank, weights=WEIGHTS, narrow=()).find() == Choice()
    assert asked.choices == [Choice()]


@pytest.mark.parametrize("bad", [{"layer0"}, {"layer7"}, {"layer3", "layer11"}, set(list(COSTS)[:20])])
def test_what_has_to_be_in_float_is(bad: set[str]) -> None:
    asked = Asked(lambda choice: bad <= choice.in_float)
    found = _find(asked)
    assert found is not None
    assert bad <= found.in_float
    assert not found.wider
    assert len(asked.choices) == len(set(asked.choices)) <= MOST_TRIES


def test_layers_in_the_group_for_nothing_are_given_back_the_largest_first() -> None:
    asked = Asked(lambda choice: "layer2" in choice.in_float)
    assert _find(asked) == Choice(in_float=frozenset({"layer2"}))
    several = _find(Asked(lambda choice: {"layer0", "layer6"} <= choice.in_float))
    assert several is not None
    assert not {"layer5", "layer4", "layer3"} & several.in_float


def test_no_layer_is_in_float_where_wider_weights_do() -> None:
    asked = Asked(lambda choice: choice.layers >= 5)
    found = _find(asked, narrow=True)
    assert found is not None
    assert len(found.wider) == 5
    assert not found.in_float
    # What each weight costs counts there; here the first layers cost the most and have the fewest weights.
    assert found.wider == set(list(COSTS)[:5])


def test_narrow_weights_stay_beside_a_layer_in_float() -> None:
    asked = Asked(lambda choice: "layer0" in choice.in_float)
    assert _find(asked, narrow=True) == Choice(in_float=frozenset({"layer0"}))
    bad = {"layer1", "layer2"}
    both = Asked(lambda choice: "layer0" in choice.in_float and bad <= choice.wider | choice.in_float)
    found = _find(both, narrow=True)
    assert found is not None
    assert found.in_float == {"layer0"}
    assert found.wider == {"layer1", "layer2"}


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("layers", [1, 2, LAYERS])
def test_one_layer_stays_quantized(layers: int, narrow: bool) -> None:
    costs = dict(list(COSTS.items())[:layers])
    asked = Asked(lambda choice: False)
    assert _find(asked, narrow=narrow, costs=costs) is None
    assert max(len(choice.in_float) for choice in asked.choices) == layers - 1
