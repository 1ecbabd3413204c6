"""Measured numbers as people read them."""

from __future__ import annotations

import pytest

from amctq.inference.metrics.score import MetricName
from amctq.inference.metrics.top1 import TOP1
from amctq.number_text import number_text

OWN = MetricName(key="small", title="small")


@pytest.mark.parametrize(
    ("value", "digits", "said"),
    [
        (91.7, 2, "91.70"),
        (1234.5, 0, "1,234"),
        (-0.001, 2, "0.00"),
        (0.9123456, None, "0.9123"),
        (-1.35285e-06, None, "-1.353e-06"),
        (0.0321, None, "0.0321"),
        (-0.0, None, "0.0000"),
        (12345.678, None, "12,345.6780"),
        (1e30, None, "1e+30"),
    ],
)
def test_a_number_has_the_digits_that_its_size_needs(value: float, digits: int | None, said: str) -> None:
    assert number_text(value, digits) == said


def test_a_sign() -> None:
    assert [number_text(value, 2, sign=True) for value in (1.0, -1.0, -0.001)] == ["+1.00", "-1.00", "+0.00"]
    assert number_text(2e-9, None, sign=True) == "+2e-09"


@pytest.mark.parametrize(
    ("metric", "drop", "limit", "said"),
    [(TOP1, 0.5, 0.5, "0.50"), (TOP1, 0.504, 0.5, "0.504"), (OWN, 2e-9, 1e-9, "2e-09"), (OWN, 1234.5, 1, "1,234.5000")],
)
def test_what_lies_beyond_a_limit_looks_so(metric: MetricName, drop: float, limit: float, said: str) -> None:
    assert metric.text_beside(drop, limit) == said


def test_a_report_has_the_digits_of_a_float32() -> None:
    assert OWN.rounded(-1.3528512345678e-06) == -1.35285123e-06
    assert TOP1.rounded(100 * 2 / 3, 4) == 66.6667
