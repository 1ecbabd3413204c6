"""``--weight-bits auto``: a width for each layer, within a size or within a drop.

What a layer costs at a width is measured alone, and the costs of all layers are added up: a knapsack. The choice, and
what stands beside it, is then measured whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from amctq.quant.knapsack import Choice, Option, frontier, least_cost
from amctq.services.ptq.width_trials import PROBES, TRIES, WidthTrials, cost_of, width_trials

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.data.samples import Batches
    from amctq.inference.metrics.score import Metric
    from amctq.inference.output_change import OutputChange
    from amctq.progress import Reporter
    from amctq.quant.config import QuantConfig
    from amctq.services.ptq.layer_sizes import LayerSizes
    from amctq.services.ptq.plan import PtqPlan

_SHOWN = 48  # of its points in the report


@dataclass(frozen=True, kw_only=True, eq=False)
class Try:
    """A network that was measured whole.

    Attributes:
        widths: by layer.
        size: bytes of its weights.
        cost: what the costs of its layers add up to.
        change: against the float network.
        drop: of the metric; None without one.
        what: why it was tried.
    """

    widths: Mapping[str, int]
    size: int
    cost: float
    change: OutputChange
    drop: float | None
    what: str


@dataclass(frozen=True, kw_only=True, eq=False)
class WidthChoice:
    """The widths, and how they were found.

    Attributes:
        plan: the plan of the run.
        sizes: bytes of every layer at every width.
        limit: the most bytes; None where a drop is the limit.
        chosen: the network that was chosen.
        tries: all networks that were measured, the smallest first.
        corners: size and cost of the choices that cost least for their size.
        samples: how many measured it.
        quantized: the network with these widths.
        quant: its configuration.
    """

    plan: PtqPlan
    sizes: LayerSizes
    limit: int | None
    chosen: Try
    tries: tuple[Try, ...]
    corners: tuple[tuple[int, float], ...]
    samples: int
    quantized: QuantizedNetwork
    quant: QuantConfig

    def data(self) -> dict[str, Any]:
        """The sections of the report, ready for JSON."""
        request = self.plan.request
        return {
            "bits": {
                "candidates": list(self.plan.widths),
                "max_size": self.limit,
                "max_drop": None if self.limit is not None else request.max_drop,
                "seed": request.seed,
                "tuning_samples": self.samples,
                "chosen": dict(self.chosen.widths),
                "size": self.chosen.size,
                "float_size": self.sizes.floats,
                "uniform": {str(bits): size for bits, size in self._uniform()},
                "tries": [_data(each, chosen=each is self.chosen) for each in self.tries],
            },
            "frontier": list(self._frontier()),
        }

    def _uniform(self) -> Iterable[tuple[int, int]]:
        for bits in self.plan.widths:
            if all(bits in own for own in self.sizes.by_width.values()):
                yield bits, self.sizes.of(dict.fromkeys(self.sizes.by_width, bits))

    def _frontier(self) -> Iterable[dict[str, Any]]:
        """The points of least cost, and all that was measured."""
        measured = {(each.size, each.cost): each for each in self.tries}
        step = max(1, len(self.corners) // _SHOWN)
        points = {*self.corners[::-step], *measured}
        costs = sorted((each.cost, each.drop) for each in self.tries if each.drop is not None)
        # More cost is no less drop: what was measured on few samples may say otherwise.
        drops = np.maximum.accumulate([drop for _, drop in costs])
        for size, cost in sorted(points):
            found = measured.get((size, cost))
            expected = float(np.interp(cost, [each for each, _ in costs], drops)) if costs else None
            yield {
                "bytes": size,
                "expected_cost": _rounded(cost),
                "expected_drop": _rounded(expected),
                "measured_drop": None if found is None else _rounded(found.drop),
                "chosen": found is self.chosen,
            }


def choose_widths(
    plan: PtqPlan,
    quantized: QuantizedNetwork,
    quant: QuantConfig,
    sizes: LayerSizes,
    tuning: Batches,
    metric: Metric | None,
    reporter: Reporter,
) -> WidthChoice:
    """Choose a width for each layer: of least cost within ``--max-size``, else of least size within ``--max-drop``.

    Args:
        plan: the plan of the run.
        quantized: the network, with its layers at all widths.
        quant: its configuration.
        sizes: of each layer at every width.
        tuning: training samples that do not calibrate.
        metric: how good a network is; None where nothing says it.
        reporter: shows the phases.

    Raises:
        UsageError: ``--max-size`` is below what is possible.
        InputError: as ``width_trials``.
    """
    request = plan.request
    trials = width_trials(quantized, tuning, metric)
    search = _Search(trials, sizes, trials.costs(sizes, reporter))
    limit = None if request.max_size is None else sizes.limit(request.max_size)
    with reporter.phase(TRIES, 100, "%") as advance:
        if limit is not None:
            chosen = search.within_size(limit, plan.widths)
            advance(50)
        else:
            assert request.max_drop is not None
            chosen = search.within_drop(request.max_drop)
            if chosen.drop is not None and chosen.drop > request.max_drop:
                reporter.warn(
                    f"--max-drop {request.max_drop:g}: even {plan.widths[-1]} bits everywhere lose {chosen.drop:.2f} "
                    "on the tuning samples"
                )
            advance(80)
        search.probe()
        advance(100)
    widths = chosen.widths
    layers = tuple(
        replace(layer, weight=replace(layer.weight, bits=widths.get(layer.name, layer.weight.bits)))
        for layer in quant.layers
    )
    return WidthChoice(
        plan=plan,
        sizes=sizes,
        limit=limit,
        chosen=chosen,
        tries=tuple(sorted(search.tries, key=lambda each: (each.size, each.cost))),
        corners=tuple((corner.size + sizes.tables, corner.cost) for corner in search.corners),
        samples=tuning.images,
        quantized=trials.with_widths(quantized, widths),
        quant=replace(quant, layers=layers),
    )


class _Search:
    """Choices among the widths, each measured once.

    Args:
        trials: the network and the samples.
        sizes: by layer and width.
        costs: by layer and width.
    """

    def __init__(self, trials: WidthTrials, sizes: LayerSizes, costs: Mapping[str, Mapping[int, float]]) -> None:
        self._trials, self._sizes, self._costs = trials, sizes, costs
        self._widths = {name: sorted(own) for name, own in sizes.by_width.items()}
        self._items = [
            [Option(size=sizes.by_width[name][bits], cost=costs[name][bits]) for bits in widths]
            for name, widths in self._widths.items()
        ]
        self.corners: Sequence[Choice] = frontier(self._items)
        self.tries: list[Try] = []

    def within_size(self, limit: int, candidates: Sequence[int]) -> Try:
        """The best of what the knapsack gives and of one width for all layers."""
        tried = [self._tried(self._named(least_cost(self._items, limit - self._sizes.tables)), "knapsack")]
        for bits in sorted(candidates, reverse=True):
            uniform = dict.fromkeys(self._widths, bits)
            if all(bits in own for own in self._widths.values()) and self._sizes.of(uniform) <= limit:
                tried.append(self._tried(uniform, "uniform"))
                break
        return min(tried, key=lambda each: cost_of(each.change))

    def within_drop(self, most: float) -> Try:
        """The smallest corner that loses no more, by bisection: a larger one is taken to lose less."""
        low, high = 0, len(self.corners) - 1
        while low < high:
            middle = (low + high) // 2
            found = self._tried(self._named(self.corners[middle]), "bisection")
            assert found.drop is not None
            if found.drop <= most:
                high = middle
            else:
                low = middle + 1
        return self._tried(self._named(self.corners[low]), "bisection")

    def probe(self) -> None:
        """Measure some corners, the first and the last among them."""
        for index in np.linspace(0, len(self.corners) - 1, PROBES).round().astype(int):
            self._tried(self._named(self.corners[int(index)]), "frontier")

    def _named(self, choice: Choice) -> Mapping[str, int]:
        pairs = zip(self._widths.items(), choice.picks, strict=True)
        return {name: own[pick] for (name, own), pick in pairs}

    def _tried(self, widths: Mapping[str, int], what: str) -> Try:
        for known in self.tries:
            if known.widths == widths:
                return known
        change, before = self._trials.measured(widths), self._trials.before
        found = Try(
            widths=widths,
            size=self._sizes.of(widths),
            cost=sum(self._costs[name][bits] for name, bits in widths.items()),
            change=change,
            drop=None if before is None or change.score is None else before.drop_to(change.score),
            what=what,
        )
        self.tries.append(found)
        return found


def _data(found: Try, *, chosen: bool) -> dict[str, Any]:
    counts = {bits: list(found.widths.values()).count(bits) for bits in sorted(set(found.widths.values()))}
    return {
        "what": found.what,
        "size": found.size,
        "layers_by_width": {str(bits): count for bits, count in counts.items()},
        "expected_cost": _rounded(found.cost),
        "cost": _rounded(cost_of(found.change)),
        "measured_drop": _rounded(found.drop),
        "chosen": chosen,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
