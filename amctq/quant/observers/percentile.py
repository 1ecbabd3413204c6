"""Percentile: the range that holds a given share of the values (docs/en/reference.md, "Percentile").

What is left out is shared between both ends, as onnxruntime does it; an end that no value crosses, below zero after a
ReLU, leaves its half inside.
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
        percentile: share of the values inside the range, (0.5, 1]; the default is onnxruntime's.
        symmetric: offset fixed at 0.
    """

    percentile: float = 0.99999
    symmetric: bool = False


class PercentileObserver(StatisticsObserver):
    """Takes one order statistic at each end."""

    def __init__(self, settings: PercentileSettings | None = None) -> None:
        super().__init__()
        self._settings = settings or PercentileSettings()

    def _choose(self) -> QParams:
        statistics = self._statistics
        rank = statistics.rank((1 + self._settings.percentile) / 2)
        return numerics.range_qparams(
            statistics.kth_smallest(rank), statistics.kth_largest(rank), symmetric=self._settings.symmetric
        )
