"""What ``--auto`` has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amctq.errors import listed
from amctq.services.fallback.search import Choice
from amctq.services.fallback.tries import Measured
from amctq.services.run.check import Check

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.inference.metrics.score import MetricName
    from amctq.quant.config import QuantConfig

_NAMED = 5  # layers in a message


@dataclass(frozen=True, kw_only=True)
class Try:
    """One network that was measured.

    Attributes:
        choice: what falls back in it.
        measured: what it costs.
        kept: it meets the target, so that the next tries have fewer layers that fall back.
    """

    choice: Choice
    measured: Measured
    kept: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Fallback:
    """What ``--auto`` has found.

    Attributes:
        target: the largest drop allowed.
        metric: of the drops.
        samples: how many tuning samples.
        seed: which has chosen them.
        bits: width of the wider weights.
        tries: in their order.
        chosen: the last that was kept; where none was, the one with the least drop.
        met: whether the target is met.
        weights: by layer, how many it has.
        network: the network of ``chosen``.
        quant: its configuration.
    """

    target: float
    metric: MetricName
    samples: int
    seed: int
    bits: int
    tries: tuple[Try, ...]
    chosen: Try
    met: bool
    weights: Mapping[str, int]
    network: QuantizedNetwork
    quant: QuantConfig

    @property
    def share_narrow(self) -> float:
        """The share of the weights that have the width asked for."""
        choice = self.chosen.choice
        fallen = sum(self.weights[name] for name in choice.wider | choice.in_float)
        return 1 - fallen / sum(self.weights.values())

    @property
    def check(self) -> Check:
        """Whether the target is met on the tuning samples."""
        return Check(
            name="--auto",
            passed=self.met,
            detail=f"{'' if self.met else 'the best found has a '}{self._drop} on {self.samples:,} tuning samples with "
            f"{self.said}, allowed {self.target:g}{self.metric.unit_behind}",
            hint="nothing was written; allow a larger --max-drop, or retrain with amctq qat",
        )

    @property
    def said(self) -> str:
        """What falls back, for sentences."""
        choice = self.chosen.choice
        parts = {f"at {self.bits} bits": choice.wider, "in float": choice.in_float}
        said = [f"{_named(names, self.weights)} {where}" for where, names in parts.items() if names]
        return " and ".join(said) or "no layer in fallback"

    def data(self) -> dict[str, Any]:
        """The section of the report."""
        choice, chosen = self.chosen.choice, self.chosen.measured
        levels = dict.fromkeys(choice.wider, self.bits) | dict.fromkeys(choice.in_float, "float")
        return {
            "target": self.target,
            "metric": self.metric.data(),
            "samples": self.samples,
            "seed": self.seed,
            "met": self.met,
            "drop": self.metric.rounded(chosen.drop),
            "drop_95": self._ends(chosen),
            "bits": self.bits,
            "tries": [
                {
                    "layers": item.choice.layers,
                    "in_float": len(item.choice.in_float),
                    "drop": self.metric.rounded(item.measured.drop),
                    "drop_95": self._ends(item.measured),
                    "kept": item.kept,
                    "chosen": item is self.chosen,
                }
                for item in self.tries
            ],
            "layers": {name: levels[name] for name in self.weights if name in levels},
            "share_narrow": round(self.share_narrow, 4),
        }

    @property
    def _drop(self) -> str:
        found = self.chosen.measured
        ends = "" if found.interval is None else f" [{self.metric.ends(found.interval)}]"
        return f"drop of {self.metric.text_beside(found.drop, self.target)}{ends}"

    def _ends(self, measured: Measured) -> list[float] | None:
        return None if measured.interval is None else [self.metric.rounded(end) for end in measured.interval]


def _named(names: frozenset[str], order: Mapping[str, int]) -> str:
    return listed([name for name in order if name in names], _NAMED)
