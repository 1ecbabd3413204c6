"""Percentile: the range that holds a given share of the values (docs/en/reference.md, "Percentile").

Half of the rest is left out at each end, as onnxruntime does it. Where an end of the range is 0 in any case (the lower
end after a ReLU), its half stays inside.
"""

from __future__ import annotations

from dataclasses import dataclass

from amctq.quant import numerics
from amctq.quant.numerics import QParams
from amctq.quant.observers.statistics import StatisticsObserver


@dataclass(frozen=True, kw_only=True)
class PercentileSettings:
    """Parameters of the percentile observer.

    Attributes:
        percentile: share of the values inside the range, in (0.5, 1]; the default is that of onnxruntime.
        symmetric: offset fixed at 0.
    """

    percentile: float = 0.99999
    symmetric: bool = False


class PercentileObserver(StatisticsObserver):
    """Uses one order statistic at each end."""

    def __init__(self, settings: PercentileSettings | None = None) -> None:
        self._settings = settings or PercentileSettings()
        super().__init__(symmetric=self._settings.symmetric)

    def _choose(self, smallest: float) -> QParams:
        statistics = self._statistics
        rank = statistics.rank((1 + self._settings.percentile) / 2)
        low, high = statistics.kth_smallest(rank), statistics.kth_largest(rank)
        return numerics.range_qparams(low, high, symmetric=self._symmetric, smallest=smallest)
