"""The words for a change against float."""

from __future__ import annotations

import pytest

from amctq.inference.metrics.score import MetricName
from amctq.services.run.verdict import change_sentence, size_change, speed_change

TOP1 = MetricName(key="top1", title="top-1, %", unit="points", digits=2)
OWN = MetricName(key="small", title="small")
MAE = MetricName(key="mae", title="MAE", digits=4, rises=False)


@pytest.mark.parametrize(
    ("metric", "drop", "interval", "said"),
    [
        (TOP1, -0.07, (-0.21, 0.07), "0.07 points above float [-0.07 to 0.21]"),
        (TOP1, 0.33, (0.08, 0.58), "0.33 points below float [0.08 to 0.58]"),
        (TOP1, 0.0, (-0.97, 0.97), "equal to float [-0.97 to 0.97]"),
        (TOP1, -0.001, (-0.001, 0.0), "equal to float [0.00 to 0.00]"),
        (TOP1, 1.5, None, "1.50 points below float"),
        (MAE, 0.01, (0.005, 0.015), "0.0100 worse than float [0.0050 to 0.0150]"),
        (OWN, -2e-9, (-3e-9, -1e-9), "2e-09 above float [1e-09 to 3e-09]"),
        (MAE, -0.01, None, "0.0100 better than float"),
    ],
)
def test_a_change_counts_in_its_own_direction(
    metric: MetricName, drop: float, interval: tuple[float, float] | None, said: str
) -> None:
    assert change_sentence(drop, interval, metric) == said


def test_files_and_speeds_are_compared_both_ways() -> None:
    assert [size_change(ratio) for ratio in (0.275, 1.008, 1.0)] == ["3.64x smaller", "1.01x larger", "as large"]
    assert [speed_change(ratio) for ratio in (2.09, 0.5, 0.997)] == ["2.09x faster", "2.00x slower", "as fast"]
