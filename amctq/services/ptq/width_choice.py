"""The widths that were chosen for the layers, and how, for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.inference.output_change import OutputChange
    from amctq.quant.config import QuantConfig
    from amctq.services.ptq.layer_sizes import LayerSizes
    from amctq.services.ptq.plan import PtqPlan

_SHOWN = 48  # points of the frontier in the report


@dataclass(frozen=True, kw_only=True, eq=False)
class Try:
    """A network that was measured whole.

    Attributes:
        widths: by layer.
        size: bytes of its weights.
        cost: what the costs of its layers add up to.
        change: against the float network.
        drop: of the metric; None without one.
        what: why it was tried.
    """

    widths: Mapping[str, int]
    size: int
    cost: float
    change: OutputChange
    drop: float | None
    what: str


@dataclass(frozen=True, kw_only=True, eq=False)
class WidthChoice:
    """The widths, and how they were found.

    Attributes:
        plan: the plan of the run.
        sizes: bytes of every layer at every width.
        limit: the most bytes; None where a drop is the limit.
        chosen: the network that was chosen.
        tries: all networks that were measured, the smallest first.
        corners: size and cost of the choices that cost least for their size.
        samples: how many measured it.
        quantized: the network with these widths.
        quant: its configuration.
    """

    plan: PtqPlan
    sizes: LayerSizes
    limit: int | None
    chosen: Try
    tries: tuple[Try, ...]
    corners: tuple[tuple[int, float], ...]
    samples: int
    quantized: QuantizedNetwork
    quant: QuantConfig

    def data(self) -> dict[str, Any]:
        """The sections of the report, ready for JSON."""
        request = self.plan.request
        return {
            "bits": {
                "candidates": list(self.plan.widths),
                "max_size": self.limit,
                "max_drop": None if self.limit is not None else request.max_drop,
                "seed": request.seed,
                "tuning_samples": self.samples,
                "chosen": dict(self.chosen.widths),
                "size": self.chosen.size,
                "float_size": self.sizes.floats,
                "uniform": {str(bits): size for bits, size in self._uniform()},
                "tries": [_data(each, chosen=each is self.chosen) for each in self.tries],
            },
            "frontier": list(self._frontier()),
        }

    def _uniform(self) -> Iterable[tuple[int, int]]:
        for bits in self.plan.widths:
            if all(bits in own for own in self.sizes.by_width.values()):
                yield bits, self.sizes.of(dict.fromkeys(self.sizes.by_width, bits))

    def _frontier(self) -> Iterable[dict[str, Any]]:
        """The points of least cost, and all that was measured."""
        measured = {(each.size, each.cost): each for each in self.tries}
        step = max(1, len(self.corners) // _SHOWN)
        points = {*self.corners[::-step], *measured}
        costs = sorted((each.cost, each.drop) for each in self.tries if each.drop is not None)
        # More cost is no less drop: what was measured on few samples may say otherwise.
        drops = np.maximum.accumulate([drop for _, drop in costs])
        for size, cost in sorted(points):
            found = measured.get((size, cost))
            expected = float(np.interp(cost, [each for each, _ in costs], drops)) if costs else None
            yield {
                "bytes": size,
                "expected_cost": _rounded(cost),
                "expected_drop": _rounded(expected),
                "measured_drop": None if found is None else _rounded(found.drop),
                "chosen": found is self.chosen,
            }


def _data(found: Try, *, chosen: bool) -> dict[str, Any]:
    counts = {bits: list(found.widths.values()).count(bits) for bits in sorted(set(found.widths.values()))}
    return {
        "what": found.what,
        "size": found.size,
        "layers_by_width": {str(bits): count for bits, count in counts.items()},
        "expected_cost": _rounded(found.cost),
        "cost": _rounded(found.change.cost),
        "measured_drop": _rounded(found.drop),
        "chosen": chosen,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
