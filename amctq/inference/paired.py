"""Comparing two networks on the same samples (docs/en/reference.md, "Paired comparison")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.inference.metrics.score import Score

_DRAWS = 1000
_Z95 = 1.959963984540054  # standard normal quantile at 0.975


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The change of a metric from the float to the quantized network.

    Attributes:
        images: number of compared samples.
        drop: by how much the quantized network is worse, in the metric's unit.
        interval: 95 % confidence interval of the drop; None where the metric has no score for each sample.
        hits: of a metric that counts hits, as top-1 does, which samples changed; else None.
    """

    images: int
    drop: float
    interval: tuple[float, float] | None
    hits: ChangedHits | None = None


@dataclass(frozen=True, kw_only=True)
class ChangedHits:
    """Samples that one network hits and the other misses.

    Attributes:
        lost: samples that are right in float and wrong after quantization (McNemar's b).
        gained: samples that are wrong in float and right after quantization (McNemar's c).
        p_value: of the exact two-sided McNemar test; the null hypothesis is that there is no difference.
    """

    lost: int
    gained: int
    p_value: float


def paired_difference(before: Score, after: Score) -> PairedDifference:
    """Compare two networks on the same samples."""
    one, two = before.per_sample, after.per_sample
    if one is not None and two is not None and one.dtype == bool:
        return _difference_of_hits(one, two)
    drop, interval = before.drop_to(after), None
    if one is not None and two is not None and len(one) > 1:
        # The mean of the paired differences, by the normal distribution.
        half = _Z95 * float(np.std(one - two, ddof=1)) / math.sqrt(len(one))
        interval = (drop - half, drop + half)
    else:
        interval = _bootstrap(before, after)
    return PairedDifference(images=before.samples, drop=drop, interval=interval)


def _bootstrap(before: Score, after: Score) -> tuple[float, float] | None:
    """The percentile interval of the drop on samples drawn with replacement (Efron, Annals of Statistics 7, 1979)."""
    draw = np.random.default_rng(0)
    rises = 1 if before.metric.rises else -1
    drops = []
    for _ in range(_DRAWS):
        chosen = draw.integers(0, before.samples, before.samples)
        one, two = before.resampled(chosen), after.resampled(chosen)
        if one is None or two is None:
            return None
        drops.append(rises * (one - two))
    low, high = np.percentile(drops, (2.5, 97.5))
    return float(low), float(high)


def _difference_of_hits(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> PairedDifference:
    """Compare two networks by the samples that each classifies correctly; bool arrays of shape (N,), N ≥ 1.

    The interval is that of Agresti and Min (Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24, 2005): Wald's interval after half a sample is added to each of the four cells. It is
    meaningful also where no sample changes. The test is McNemar's with the exact binomial distribution.
    """
    samples = len(before)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    n, b, c = samples + 2.0, lost + 0.5, gained + 0.5
    centre = (b - c) / n
    half = _Z95 * math.sqrt((b + c) - (b - c) ** 2 / n) / n
    return PairedDifference(
        images=samples,
        drop=100.0 * (lost - gained) / samples,
        interval=(100.0 * (centre - half), 100.0 * (centre + half)),
        hits=ChangedHits(lost=lost, gained=gained, p_value=exact_mcnemar(lost, gained)),
    )


def exact_mcnemar(lost: int, gained: int) -> float:
    """The two-sided p value of ``lost`` and ``gained``, if each had probability 1/2."""
    # MindSpore loads this module of SciPy anyway. scipy.stats.binomtest gives the same digits, but takes 2 s to load.
    from scipy.special import betainc

    least, most = sorted((lost, gained))
    if least == most:
        return 1.0
    # For n = least + most, P(X <= least) is the regularized incomplete beta function.
    return min(1.0, 2.0 * float(betainc(most, least + 1, 0.5)))
