"""The difference of two classifiers on the same images (docs/en/reference.md, "Paired comparison")."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959963984540054  # standard normal quantile at 0.975


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """How top-1 changes from the float to the quantized network.

    Attributes:
        images: how many were compared.
        lost: right in float, wrong quantized (McNemar's b).
        gained: wrong in float, right quantized (McNemar's c).
        drop: float minus quantized, percentage points.
        interval: of the drop, 95 %, percentage points.
        p_value: exact two-sided McNemar test that there is no difference.
    """

    images: int
    lost: int
    gained: int
    drop: float
    interval: tuple[float, float]
    p_value: float


def paired_difference(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> PairedDifference:
    """Compare which images two networks classify rightly; both arrays of shape (N,), N ≥ 1.

    The interval is Agresti and Min's (Simple improved confidence intervals for comparing matched proportions,
    Statistics in Medicine 24, 2005): Wald's, after half an image is added to each of the four cells. It stays
    sensible where no image changes. The test is McNemar's with the exact binomial distribution.
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
    """Two-sided p value of ``lost`` against ``gained`` under a fair coin."""
    # This module of SciPy is loaded with MindSpore. scipy.stats.binomtest gives the same digits, and takes 2 s to load.
    from scipy.special import betainc

    least, most = sorted((lost, gained))
    if least == most:
        return 1.0
    # P(X <= least) for n = least + most throws is the regularized incomplete beta function.
    return min(1.0, 2.0 * float(betainc(most, least + 1, 0.5)))
