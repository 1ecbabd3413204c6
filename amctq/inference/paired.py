"""Comparing two classifiers on the same images (docs/en/reference.md, "Paired comparison")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054  # standard normal quantile at 0.975


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The change of top-1 from the float to the quantized network.

    Attributes:
        images: number of compared images.
        lost: images that are right in float and wrong after quantization (McNemar's b).
        gained: images that are wrong in float and right after quantization (McNemar's c).
        drop: float minus quantized, percentage points.
        interval: 95 % confidence interval of the drop, percentage points.
        p_value: of the exact two-sided McNemar test; the null hypothesis is that there is no difference.
    """

    images: int
    lost: int
    gained: int
    drop: float
    interval: tuple[float, float]
    p_value: float


def paired_difference(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> PairedDifference:
    """Compare two networks by the images that each classifies correctly; bool arrays of shape (N,), N ≥ 1.

    The interval is that of Agresti and Min (Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24, 2005): Wald's interval after half an image is added to each of the four cells. It is
    meaningful also where no image changes. The test is McNemar's with the exact binomial distribution.
    """
    images = len(before)
    lost, gained = int((before & ~after).sum()), int((~before & after).sum())
    n, b, c = images + 2.0, lost + 0.5, gained + 0.5
    centre = (b - c) / n
    half = _Z95 * math.sqrt((b + c) - (b - c) ** 2 / n) / n
    return PairedDifference(
        images=images,
        lost=lost,
        gained=gained,
        drop=100.0 * (lost - gained) / images,
        interval=(100.0 * (centre - half), 100.0 * (centre + half)),
        p_value=exact_mcnemar(lost, gained),
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
