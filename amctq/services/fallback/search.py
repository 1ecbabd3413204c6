"""Which layers fall back, so that few do and the network is good enough.

The layers are ranked, the worst first: for float by what they cost, for wider weights by what each of their weights
costs, because narrow weights are there for the size. A group of the worst ones falls back, and its size is found by
bisection; then single layers are given back, those with the most weights first. No choice is tried twice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

# Bisection among 57 layers takes 6, after one try of the whole network; the others are for giving back.
MOST_TRIES = 12


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What falls back.

    Attributes:
        wider: names of the layers with wider weights than asked for.
        in_float: names of the layers in float.
    """

    wider: frozenset[str] = frozenset()
    in_float: frozenset[str] = frozenset()

    @property
    def layers(self) -> int:
        """How many layers fall back."""
        return len(self.wider) + len(self.in_float)


@dataclass(kw_only=True, eq=False)
class Search:
    """Looks for a choice.

    Attributes:
        meets: whether the network with this choice is good enough.
        rank: by layer that can fall back, what it costs; called where the network is not good enough without.
        weights: by layer, how many it has.
        narrow: names of the layers that have wider weights to fall back to.
        tries: how many choices may be tried; bisection goes beyond where there are many layers.
    """

    meets: Callable[[Choice], bool]
    rank: Callable[[], Mapping[str, float]]
    weights: Mapping[str, int]
    narrow: Collection[str]
    tries: int = MOST_TRIES
    _tried: dict[Choice, bool] = field(default_factory=dict)

    def find(self) -> Choice | None:
        """The choice; None where the network is not good enough with all layers but one in float."""
        if self._try(Choice()):
            return Choice()
        costs = self.rank()
        ranked = sorted(costs, key=lambda name: -costs[name])
        by_weight = sorted(costs, key=lambda name: -costs[name] / self.weights[name])
        narrow = [name for name in by_weight if name in self.narrow]
        in_float: frozenset[str] = frozenset()
        if not narrow or not self._try(Choice(wider=frozenset(narrow))):
            size = _least(0, len(ranked), lambda size: self._try(_prefix(ranked, size, narrow)))
            if size == len(ranked):
                return None
            in_float = frozenset(ranked[:size])
            narrow = [name for name in narrow if name not in in_float]
        least = -1 if in_float else 0
        size = _least(least, len(narrow), lambda size: self._try(_with(in_float, narrow[:size])))
        return self._refined(_with(in_float, narrow[:size]))

    def _try(self, choice: Choice) -> bool:
        if choice not in self._tried:
            self._tried[choice] = self.meets(choice)
        return self._tried[choice]

    def _refined(self, choice: Choice) -> Choice:
        """Give back what is not needed, as far as the tries go."""
        for name in self._largest_first(choice.in_float):
            wider = choice.wider | ({name} & set(self.narrow))
            choice = self._better(choice, Choice(wider=wider, in_float=choice.in_float - {name}))
        for name in self._largest_first(choice.wider):
            choice = self._better(choice, Choice(wider=choice.wider - {name}, in_float=choice.in_float))
        return choice

    def _better(self, choice: Choice, less: Choice) -> Choice:
        affordable = less in self._tried or len(self._tried) < self.tries
        return less if affordable and self._try(less) else choice

    def _largest_first(self, names: Collection[str]) -> Iterator[str]:
        yield from sorted(names, key=lambda name: (-self.weights[name], name))


def _prefix(ranked: Sequence[str], size: int, narrow: Sequence[str]) -> Choice:
    """The worst layers in float, and all others as wide as they can be."""
    in_float = frozenset(ranked[:size])
    return Choice(wider=frozenset(narrow) - in_float, in_float=in_float)


def _with(in_float: frozenset[str], wider: Sequence[str]) -> Choice:
    return Choice(wider=frozenset(wider), in_float=in_float)


def _least(low: int, high: int, meets: Callable[[int], bool]) -> int:
    """The least number that ``meets``, where all above it do: ``low`` does not, and ``high`` is not asked."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return high
