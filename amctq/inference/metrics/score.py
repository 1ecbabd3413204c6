"""What a metric yields, and how it is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.inference.session import Outputs

LARGEST = float(np.finfo(np.float32).max)  # of a value: differences and squares of such are finite too


@dataclass(frozen=True, kw_only=True)
class MetricName:
    """What a metric is called.

    Attributes:
        key: in reports.
        title: in tables, with the unit.
        unit: of a difference, for sentences; empty where it has none.
        digits: behind the point, in tables.
        rises: a higher value is better; else a lower one.
    """

    key: str
    title: str
    unit: str = ""
    digits: int = 4
    rises: bool = True

    @property
    def label(self) -> str:
        """The name without the unit."""
        return self.title.partition(",")[0]

    @property
    def is_percentage(self) -> bool:
        """Whether values are percentages."""
        return self.title.endswith("%")

    @property
    def unit_behind(self) -> str:
        """The unit of a difference, to write behind it."""
        return f" {self.unit}" if self.unit else ""

    def said(self, value: float) -> str:
        """A value with its name, for sentences: ``top-1 91.70 %``."""
        return f"{self.label} {self.shown(value)}"

    def shown(self, value: float) -> str:
        """A value with its unit, for sentences."""
        return f"{value:.{self.digits}f}{' %' if self.is_percentage else ''}"

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
