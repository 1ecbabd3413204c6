"""IFMR with a histogram: its error against the exact search for each layer, and its cost beside the forward pass.

    python benchmarks/ifmr.py error --data ../shared/data --checkpoints ../shared/checkpoints --models resnet20 resnet50
    python benchmarks/ifmr.py cost --data ../shared/data --checkpoints ../shared/checkpoints

``error`` keeps every activation of 320 calibration images at 32 x 32, searches all of them for all 61 candidates, and
prints the exact error at the scale from the histogram, divided by the least exact error. ``cost`` takes the seconds
that ``amctq ptq`` reports for ResNet-50 at 224 with 32 calibration images.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass, field

import harness
import numpy as np
from numpy.typing import NDArray

from amctq.backends.calibration import Watch, observe_activations
from amctq.data.samples import Batches
from amctq.graph.topology import fuse
from amctq.progress import Reporter
from amctq.quant.numerics import EPSILON, Float32Array, QParams
from amctq.quant.observers import IfmrObserver, Observer
from amctq.quant.observers.error import Candidates


@dataclass
class Keeping(Observer):
    """An IFMR observer that also keeps all its input."""

    observer: IfmrObserver = field(default_factory=IfmrObserver)
    seen: list[Float32Array] = field(default_factory=list)

    def update(self, batch: Float32Array) -> None:
        self.observer.update(batch)
        self.seen.append(batch.ravel().copy())

    def qparams(self, *, smallest: float = EPSILON) -> QParams:
        return self.observer.qparams(smallest=smallest)


def exact_errors(values: Float32Array, candidates: Candidates) -> NDArray[np.float64]:
    """For each candidate, the sum of the squared errors of all values, in double precision."""
    errors = np.zeros(len(candidates.scale))
    for part in np.array_split(values, max(1, len(values) // (1 << 18))):
        x = part.astype(np.float64)
        for index, scale in enumerate(candidates.scale):
            rounded = np.rint(np.clip(x, candidates.low[index], candidates.high[index]) / scale) * scale
            errors[index] += np.sum((rounded - x) ** 2)
    return errors


def error(options: argparse.Namespace) -> None:
    print("| network | tensors | values | worst ratio | tensors whose candidate is the exact one |")
    print("|---|---|---|---|---|")
    for model in options.models:
        batches = Batches(samples=harness.calibration_images(options, model, 320, 1, 32), size=32)
        network = harness.float_network(options, model, batches)
        topology = network.topology
        tensors = dict.fromkeys(layer.input for layer in topology.layers)
        watches = tuple(Watch(tensor=tensor, observer=Keeping(), what=tensor) for tensor in tensors)
        scales = observe_activations(
            network.graph,
            topology,
            fuse(network.graph, topology),
            watches=watches,
            batches=batches,
            reporter=Reporter(),
        )
        ratios, total = [], 0
        for watch, chosen in zip(watches, scales, strict=True):
            assert isinstance(watch.observer, Keeping)
            values = np.concatenate(watch.observer.seen)
            total += len(values)
            candidates = watch.observer.observer.candidates()
            errors = exact_errors(values, candidates)
            own = int(np.argmin(np.abs(candidates.scale - chosen.scale)))
            ratios.append(errors[own] / errors.min())
        print(
            f"| {model} | {len(ratios)} | {total:,} | {max(ratios):.5f} | {sum(r == 1.0 for r in ratios)} |", flush=True
        )


def cost(options: argparse.Namespace) -> None:
    ratios = []
    for _ in range(5):
        with harness.amctq_ptq(options, "resnet50", "--eval-images", "0") as run:
            timing = run.report["timing"]
        seconds, forward = timing["seconds"], timing["parts"]["calibration forward"]
        observing = seconds["calibration"] - forward + seconds["search"]
        ratios.append(observing / forward)
        print(f"forward {forward:.2f} s, observing and searching {observing:.2f} s, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio: {statistics.median(ratios):.2f}")


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("what", choices=["error", "cost"])
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet50"])
    options = parser.parse_args()
    {"error": error, "cost": cost}[options.what](options)


if __name__ == "__main__":
    main()
