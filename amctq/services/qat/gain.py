"""Whether training has gained anything over the post-training quantization that it started from."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amctq.inference.metrics.score import Score


class Verdict(str, Enum):
    """What the paired interval of the difference says."""

    GAINED = "gained"
    NO_DIFFERENCE = "no difference"
    LOST = "lost"


def training_gain(start: Score, trained: Score) -> dict[str, Any]:
    """The paired difference that training has made, for the report.

    Args:
        start: of the network that training started from.
        trained: of the network that it yielded, on the same samples.
    """
    from amctq.inference.paired import paired_difference

    difference, metric, key = paired_difference(start, trained), start.metric, start.metric.key
    # Without an interval, the two values decide.
    low, high = sorted(-end for end in difference.interval or (difference.drop, difference.drop))
    verdict = Verdict.GAINED if low > 0 else Verdict.LOST if high < 0 else Verdict.NO_DIFFERENCE
    hits = difference.hits
    return {
        f"{key}_gain": metric.rounded(-difference.drop) + 0.0,
        f"{key}_gain_95": None if difference.interval is None else [metric.rounded(low), metric.rounded(high)],
        "lost": None if hits is None else hits.lost,
        "gained": None if hits is None else hits.gained,
        "mcnemar_p": None if hits is None else float(f"{hits.p_value:.4g}"),
        "verdict": verdict.value,
    }
