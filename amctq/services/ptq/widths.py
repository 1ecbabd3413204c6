"""``--weight-bits auto``: a width for each layer, within a size or within a drop.

What a layer costs at a width is measured alone, and the costs of all layers are added up: a knapsack. The choice, and
what stands beside it, is then measured whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from amctq.quant.knapsack import Choice, Option, frontier, least_cost
from amctq.services.ptq.width_choice import Try, WidthChoice
from amctq.services.ptq.width_trials import PROBES, TRIES, WidthTrials, width_trials

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.data.samples import Batches
    from amctq.inference.metrics.score import Metric
    from amctq.progress import Reporter
    from amctq.quant.config import QuantConfig
    from amctq.services.ptq.layer_sizes import LayerSizes
    from amctq.services.ptq.plan import PtqPlan


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
            if metric is not None and chosen.drop is not None and chosen.drop > request.max_drop:
                lost = metric.name.text_beside(chosen.drop, request.max_drop)
                reporter.warn(
                    f"--max-drop {request.max_drop:g}: even {plan.widths[-1]} bits everywhere lose "
                    f"{lost}{metric.name.unit_behind} on the tuning samples"
                )
            advance(80)
        search.probe()
        advance(100)
    widths = chosen.widths
    return WidthChoice(
        plan=plan,
        sizes=sizes,
        limit=limit,
        chosen=chosen,
        tries=tuple(sorted(search.tries, key=lambda each: (each.size, each.cost))),
        corners=tuple((corner.size + sizes.tables, corner.cost) for corner in search.corners),
        samples=tuning.images,
        quantized=trials.with_widths(quantized, widths),
        quant=quant.with_widths(widths),
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
        return min(tried, key=lambda each: each.change.cost)

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
