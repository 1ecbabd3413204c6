"""Which metric measures a network."""

from __future__ import annotations

from amctq.data.samples import Samples
from amctq.graph.float_graph import FloatGraph
from amctq.inference.metrics.score import Metric
from amctq.inference.metrics.top1 import Top1


def usual_metric(graph: FloatGraph, samples: Samples) -> Metric | None:
    """Top-1 for a classifier whose samples have classes; None for any other network, or without targets."""
    if len(graph.outputs) != 1 or not samples.classified:
        return None
    return Top1() if len(graph.model.graph.output[0].type.tensor_type.shape.dim) == 2 else None
