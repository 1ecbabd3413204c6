"""What a metric yields, and how it is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.inference.session import Outputs
from amctq.number_text import float32_digits, number_text

LARGEST = float(np.finfo(np.float32).max)  # of a value: differences and squares of such are finite too


@dataclass(frozen=True, kw_only=True)
class MetricName:
    """What a metric is called.

    Attributes:
        key: in reports.
        title: in tables, with the unit.
        unit: of a difference, for sentences; empty where it has none.
        digits: behind the point, where all values are of one size; None for those that the size of a value needs.
        rises: a higher value is better; else a lower one.
    """

    key: str
    title: str
    unit: str = ""
    digits: int | None = None
    rises: bool = True

    @property
    def label(self) -> str:
        """The name without the unit."""
        return self.title.partition(",")[0]

    @property
    def is_percentage(self) -> bool:
        """Whether values are percentages."""
        return self.title.endswith("%")

    def text(self, value: float, *, sign: bool = False) -> str:
        """A value or a difference, without its unit."""
        return number_text(value, self.digits, sign=sign)

    def text_beside(self, value: float, limit: float) -> str:
        """The same, with so many digits that it is seen whether it lies beyond a limit."""
        text = self.text(value)
        return text if (float(text.replace(",", "")) > limit) == (value > limit) else f"{value:.9g}"

    def difference(self, value: float, *, sign: bool = False) -> str:
        """A difference with its unit."""
        return f"{self.text(value, sign=sign)}{self.unit_behind}"

    def ends(self, interval: Iterable[float], *, sign: bool = False) -> str:
        """The ends of an interval."""
        return " to ".join(self.text(end, sign=sign) for end in interval)

    @property
    def unit_behind(self) -> str:
        """The unit of a difference, to write behind it."""
        return f" {self.unit}" if self.unit else ""

    def said(self, value: float) -> str:
        """A value with its name, for sentences: ``top-1 91.70 %``."""
        return f"{self.label} {self.shown(value)}"

    def shown(self, value: float) -> str:
        """A value with its unit, for sentences."""
        return f"{self.text(value)}{' %' if self.is_percentage else ''}"

    def rounded(self, value: float, decimals: int = 6) -> float:
        """A value or a difference for the report: ``decimals``, else as many digits as a float32 has."""
        return float32_digits(value) if self.digits is None else round(value, decimals)

    def data(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


class Score(ABC):
    """The value of a metric on some samples.

    Attributes:
        metric: its name.
        samples: how many.
    """

    metric: MetricName
    samples: int

    @property
    @abstractmethod
    def value(self) -> float:
        """The value."""

    @property
    def figures(self) -> Mapping[str, float]:
        """The value and others that belong to it, for the report."""
        return {self.metric.key: self.value}

    @property
    def per_sample(self) -> NDArray[Any] | None:
        """A score for each sample, (N,), whose mean is the value; None where there are none."""
        return None

    def resampled(self, positions: NDArray[np.int64]) -> float | None:
        """The value of these samples alone, of which some may occur more than once; None where that is not known."""
        del positions
        return None

    def drop_to(self, after: Score) -> float:
        """By how much another network is worse, in the metric's own unit."""
        lost = self.value - after.value
        return lost if self.metric.rises else -lost


class Scoring(ABC):
    """One pass over the samples."""

    @abstractmethod
    def add(self, outputs: Outputs, targets: Targets) -> None:
        """See a batch.

        Raises:
            InputError: the outputs or targets are not what the metric reads.
        """

    @abstractmethod
    def finish(self) -> Score:
        """The value over all batches.

        Raises:
            InputError: it is no number.
        """


class Metric(ABC):
    """A way to tell how good a network is.

    Attributes:
        name: what it is called.
    """

    name: MetricName

    @abstractmethod
    def start(self) -> Scoring:
        """Begin a pass over the samples."""
