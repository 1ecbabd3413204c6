"""Calibration: what the observers see."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.backends.calibration import Watch, observe_activations
from amctq.data.arrays import ArraySamples
from amctq.data.samples import Batches
from amctq.graph.topology import fuse, read_topology
from amctq.progress import Reporter
from amctq.quant.observers import MinMaxObserver
from tests.graph.graphs import float_graph


def test_a_network_whose_layers_read_only_its_input_is_calibrated() -> None:
    """No node has to run for that, but onnxruntime loads no graph without nodes."""
    images = np.random.default_rng(0).uniform(-1, 4, (10, 3, 2, 2)).astype(np.float32)
    graph = float_graph("logits = Conv (image, w)", {"w": np.ones((5, 3, 1, 1), np.float32)}, image="N, 3, 2, 2")
    samples = ArraySamples(
        pixels=images,
        labels=np.zeros(len(images), np.int64),
        preprocessing=None,
        sources=("noise",),
        indices=np.arange(len(images)),
    )
    topology = read_topology(graph)
    (found,) = observe_activations(
        graph,
        topology,
        fuse(graph, topology),
        watches=(Watch(tensor="image", observer=MinMaxObserver(symmetric=False), what="the input of w"),),
        batches=Batches(samples=samples, size=4),
        reporter=Reporter(),
    )
    assert found.scale == pytest.approx((images.max() - images.min()) / 255, rel=1e-3)
