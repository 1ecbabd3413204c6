"""Whether training has gained anything over the post-training quantization that it started from."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from amctq.inference.accuracy import LabelRanks


class Verdict(str, Enum):
    """What the paired interval of the difference says."""

    GAINED = "gained"
    NO_DIFFERENCE = "no difference"
    LOST = "lost"


def training_gain(start: LabelRanks, trained: LabelRanks) -> dict[str, Any]:
    """The paired top-1 difference that training has made, for the report.

    Args:
        start: of the network that training started from.
        trained: of the network that it yielded, on the same images.
    """
    from amctq.inference.paired import paired_difference

    difference = paired_difference(start.hits, trained.hits)
    low, high = sorted(-end for end in difference.interval)
    verdict = Verdict.GAINED if low > 0 else Verdict.LOST if high < 0 else Verdict.NO_DIFFERENCE
    return {
        "top1_gain": round(-difference.drop, 4) + 0.0,
        "top1_gain_95": [round(low, 4), round(high, 4)],
        "lost": difference.lost,
        "gained": difference.gained,
        "mcnemar_p": float(f"{difference.p_value:.4g}"),
        "verdict": verdict.value,
    }
