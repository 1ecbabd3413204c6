"""Metrics that are the mean of a score of each sample: PSNR and the mean absolute error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.errors import InputError
from amctq.inference.metrics.score import LARGEST, Metric, MetricName, Score, Scoring
from amctq.inference.metrics.targets import described, one_array
from amctq.inference.session import Outputs

PSNR = MetricName(key="psnr", title="PSNR, dB", unit="dB", digits=2)
MAE = MetricName(key="mae", title="mean absolute error", rises=False)
_LARGEST_PSNR = 100.0  # of samples that differ in nothing, dB


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanScore(Score):
    """The mean over all samples.

    Attributes:
        metric: see Score.
        scores: float64 (N,).
        further: other values, for the report.
    """

    metric: MetricName
    scores: NDArray[np.float64]
    further: Mapping[str, float] = field(default_factory=dict)

    @property
    def samples(self) -> int:  # type: ignore[override]
        """How many."""
        return len(self.scores)

    @property
    def value(self) -> float:
        """The mean."""
        return float(np.mean(self.scores))

    @property
    def per_sample(self) -> NDArray[np.float64]:
        """The scores."""
        return self.scores


class Psnr(Metric):
    """Peak signal-to-noise ratio of the first output against the target, of each sample, in dB.

    10 log10(peak² / mean squared error); the peak is the range of all targets, largest minus smallest. Samples that
    equal their target count as 100 dB.
    """

    name = PSNR

    def start(self) -> Scoring:
        """Begin a pass."""
        return _SquaredErrors()


class MeanAbsoluteError(Metric):
    """Mean absolute difference of the first output from the target; lower is better."""

    name = MAE

    def start(self) -> Scoring:
        """Begin a pass."""
        return _AbsoluteErrors()


class _SquaredErrors(Scoring):
    def __init__(self) -> None:
        self._errors: list[NDArray[np.float64]] = []
        self._ends = (math.inf, -math.inf)

    def add(self, outputs: Outputs, targets: Targets) -> None:
        values, wanted = matching(outputs, targets, PSNR)
        self._ends = (min(self._ends[0], float(wanted.min())), max(self._ends[1], float(wanted.max())))
        self._errors.append(((values - wanted) ** 2).reshape(len(values), -1).mean(axis=1))

    def finish(self) -> Score:
        errors, peak = np.concatenate(self._errors), self._ends[1] - self._ends[0]
        if not peak > 0:
            message = f"--metric psnr: all targets have the same value, {self._ends[0]:g}"
            raise InputError(message, hint="give targets that differ, or --metric mae")
        floor = peak**2 * 10 ** (-_LARGEST_PSNR / 10)
        return MeanScore(metric=PSNR, scores=10 * np.log10(peak**2 / np.maximum(errors, floor)))


class _AbsoluteErrors(Scoring):
    def __init__(self) -> None:
        self._errors: list[NDArray[np.float64]] = []

    def add(self, outputs: Outputs, targets: Targets) -> None:
        values, wanted = matching(outputs, targets, MAE)
        self._errors.append(np.abs(values - wanted).reshape(len(values), -1).mean(axis=1))

    def finish(self) -> Score:
        return MeanScore(metric=MAE, scores=np.concatenate(self._errors))


def matching(outputs: Outputs, targets: Targets, metric: MetricName) -> tuple[NDArray[Any], NDArray[Any]]:
    """The first output and the targets, both float64 of the same shape.

    Raises:
        InputError: the shapes differ, or there are no targets.
    """
    values = outputs[0].astype(np.float64)
    array = one_array(targets)
    if array is None or array.size != values.size:
        message = f"--metric {metric.key}: the network gives {values.shape}, and the dataset {described(targets)}"
        raise InputError(message, hint="give targets of the shape of the network's first output")
    wanted = array.astype(np.float64).reshape(values.shape)  # (N,) for (N, 1)
    if not (np.abs(wanted) <= LARGEST).all():
        message = f"--metric {metric.key}: a target holds NaN, infinity or a value beyond float32"
        raise InputError(message, hint="correct the targets")
    return values, wanted
