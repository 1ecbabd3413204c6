"""Targets that a metric cannot read are refused, and are never a fault of amctq."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.inference.metrics.choose import named_metric

OUTPUTS = {
    "top1": np.zeros((2, 3), np.float32),
    "miou": np.zeros((2, 3, 4, 4), np.float32),
    "psnr": np.zeros((2, 3), np.float32),
    "mae": np.zeros((2, 3), np.float32),
    "map50": np.ones((2, 3, 6), np.float32),
}
TARGETS: dict[str, Any] = {
    "none": None,
    "classes": np.array([0, 1]),
    "one class in a row": np.array([[0], [1]]),
    "two classes": np.array([[0, 1], [1, 2]]),
    "pixels": np.zeros((2, 4, 4), np.int32),
    "boxes without class": np.zeros((2, 3, 4)),
    "boxes of half a class": np.full((2, 3, 5), 0.5),
    "NaN": np.full((2, 3, 5), np.nan),
    "several shapes": [np.zeros((1, 4)), np.zeros((2, 4))],
    "one without": [None, np.zeros((1, 5))],
    "dictionaries": [{"box": 1}, {"box": 2}],
    "tuples": [(np.zeros((1, 4)), np.zeros(1))] * 2,
    "text": ["a", "b"],
    "complex numbers": np.full((2, 3, 5), 1j),
    "one more": np.zeros((3, 2, 5)),
}
FIT = {("top1", "classes"), ("miou", "pixels")}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("metric", OUTPUTS)
def test_targets_are_measured_or_refused(metric: str, target: str) -> None:
    scoring = named_metric(metric).start()
    fits = (metric, target) in FIT
    with contextlib.nullcontext() if fits else pytest.raises(InputError) as caught:
        scoring.add((OUTPUTS[metric],), TARGETS[target])
    assert fits or (caught is not None and caught.value.hint)
