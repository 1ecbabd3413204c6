"""What each layer costs when it is quantized alone: the order in which layers fall back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from amctq.data.samples import Batches
from amctq.services.run.sensitivity import ALONE, kept_samples, names_of_layers

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.progress import Reporter

RANKING_IMAGES = 64
_WORST = 1e300  # JSON has no infinity


def ranking_samples(tuning: Batches) -> Batches:
    """Some of the tuning samples, evenly out of all: a dataset may be sorted by class."""
    import numpy as np

    if tuning.images <= RANKING_IMAGES:
        return tuning
    positions = np.linspace(0, tuning.images - 1, RANKING_IMAGES).astype(np.int64)
    return Batches(samples=tuning.samples.take(positions), size=tuning.size)


def costs_of_layers(quantized: QuantizedNetwork, tuning: Batches, reporter: Reporter) -> dict[str, float]:
    """By layer or embedding table, what the network loses with this one alone quantized, as ``analyze`` has it.

    That is the KL divergence of the classes; without classes the noise at the outputs over their signal.

    Args:
        quantized: the quantized network; none of its layers is equalized.
        tuning: the samples.
        reporter: shows the phase.
    """
    from amctq.inference.changed_graph import ReferenceGraph
    from amctq.inference.output_change import output_change

    inputs, targets = kept_samples(tuning)
    classes = tuning.samples.classified or all(wanted is None for wanted in targets)
    floats = ReferenceGraph(quantized.network.graph.model, inputs)
    found, names = {}, names_of_layers(quantized)
    with reporter.phase(ALONE, len(names), "layers") as advance:
        for done, name in enumerate(names, 1):
            variant = floats.outputs_of(quantized.only({name}, attention=False).onnx_graph())
            change = output_change(floats.outputs, variant, targets=targets, metric=None, classes=classes)
            found[name] = min(change.cost, _WORST) if math.isfinite(change.cost) else _WORST
            advance(done)
    return found
