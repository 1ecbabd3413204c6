"""The metric of a report: how its values are written."""

from __future__ import annotations

from dataclasses import dataclass

from amctq.report_page.figures import fixed
from amctq.report_page.part import Part
from amctq.report_page.words import Words


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What ``accuracy.metric`` says.

    Attributes:
        key: in the report.
        title: in tables, with the unit.
        unit: of a difference.
        digits: behind the point; None for those that the size of a value needs.
    """

    key: str
    title: str
    unit: str
    digits: int | None

    @property
    def label(self) -> str:
        """The name without the unit."""
        return self.title.partition(",")[0]

    def shown(self, value: float | None) -> str:
        """A value with its unit."""
        return f"{fixed(value, self.digits)}{' %' if self.title.endswith('%') and value is not None else ''}"

    def difference(self, value: float | None) -> str:
        """A difference with its unit."""
        return f"{fixed(value, self.digits)}{f' {self.unit}' if self.unit and value is not None else ''}"


def metric_of(words: Words, accuracy: Part) -> Metric:
    """The metric that the section names."""
    named = accuracy.part("metric")
    digits = named.count("digits")
    return Metric(
        key=named.text("key", "score"),
        title=named.text("title", "score"),
        unit=words.or_own("unit", named.text("unit")),
        digits=None if digits is None else min(max(digits, 0), 12),
    )
