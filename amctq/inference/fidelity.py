"""How near the outputs of the quantized network are to those of the float network.

That is no accuracy, but it is what can be said without targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import numpy as np

from amctq.data.inputs import Array, samples_in
from amctq.data.samples import Batches
from amctq.inference.session import Session


@dataclass(frozen=True, kw_only=True)
class OutputFidelity:
    """The two networks' values of one output.

    Attributes:
        output: its name.
        sqnr_db: the float values' power against that of the difference, in dB; infinite where nothing differs.
        cosine: of the angle between the two, all values as one vector.
        max_difference: the largest difference of a value.
        largest: the largest absolute value in float.
        chosen: it depends on a choice, such as the best boxes in their order: where two are exchanged, the figures say
            nothing.
    """

    output: str
    sqnr_db: float
    cosine: float
    max_difference: float
    largest: float
    chosen: bool = False

    def data(self) -> dict[str, Any]:
        """For the report."""
        return {
            "output": self.output,
            "sqnr_db": round(self.sqnr_db, 2) if math.isfinite(self.sqnr_db) else None,
            "cosine": round(self.cosine, 6),
            "max_difference": float(f"{self.max_difference:.4g}"),
            "largest": float(f"{self.largest:.4g}"),
            "chosen": self.chosen,
        }


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """All outputs, on the same samples.

    Attributes:
        samples: how many.
        outputs: in the network's order.
    """

    samples: int
    outputs: tuple[OutputFidelity, ...]


@dataclass(kw_only=True)
class _Sums:
    signal: float = 0.0
    noise: float = 0.0
    other: float = 0.0
    product: float = 0.0
    apart: float = 0.0
    largest: float = 0.0

    def add(self, before: Array, after: Array) -> None:
        one, two = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
        difference = one - two
        self.signal += float(one @ one)
        self.other += float(two @ two)
        self.product += float(one @ two)
        self.noise += float(difference @ difference)
        self.apart = max(self.apart, float(np.abs(difference).max(initial=0.0)))
        self.largest = max(self.largest, float(np.abs(one).max(initial=0.0)))

    def of(self, output: str, *, chosen: bool) -> OutputFidelity:
        lengths = math.sqrt(self.signal * self.other)
        return OutputFidelity(
            output=output,
            sqnr_db=math.inf if self.noise == 0 else 10 * math.log10(max(self.signal, 1e-300) / self.noise),
            cosine=self.product / lengths if lengths else float(self.signal == self.other),
            max_difference=self.apart,
            largest=self.largest,
            chosen=chosen,
        )


def compare_outputs(
    before: Session,
    after: Session,
    batches: Batches,
    names: tuple[str, ...],
    advance: Callable[[int], None],
    *,
    chosen: Container[str] = (),
) -> Fidelity:
    """Run every sample through the float and the quantized network.

    Args:
        before: the float network.
        after: the quantized network.
        batches: the samples.
        names: of the outputs.
        advance: called with the number of samples done.
        chosen: names of the outputs that depend on a choice.
    """
    sums = [_Sums() for _ in names]
    done = 0
    for inputs, _ in batches:
        for found, *pair in zip(sums, before.run(inputs), after.run(inputs), strict=True):
            found.add(*pair)
        done += samples_in(inputs)
        advance(done)
    by_name = zip(names, sums, strict=True)
    return Fidelity(samples=done, outputs=tuple(each.of(name, chosen=name in chosen) for name, each in by_name))
