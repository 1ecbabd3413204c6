"""Calibration: a forward pass for each image, in which observers see every tensor that will be quantized.

As in AMCT, activations are float and weights are fake-quantized during calibration (docs/en/reference.md,
"Calibration"). The observers keep one core busy; meanwhile the next forward pass runs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np

from amctq.backends.base import CALIBRATION
from amctq.backends.forward_passes import forward_passes, tapped_session
from amctq.data.samples import Batches
from amctq.errors import InputError
from amctq.graph.float_graph import FloatGraph
from amctq.progress import Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import Topology
from amctq.quant.numerics import EPSILON, SMALLEST_NORMAL, Float32Array, QParams
from amctq.quant.observers import NonFiniteError, Observer
from amctq.quant.replaced import input_warning
from amctq.quant.rounding.pairs import PairWatcher

_OVERFLOWS = "the checkpoint overflows on these images; check it and the data"


class Watcher(Protocol):
    """Gathers statistics of a tensor."""

    def expect(self, images: int) -> None:
        """Say how many images there will be."""

    def update(self, values: Float32Array) -> None:
        """See a batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """An observer on a tensor.

    Attributes:
        tensor: its name in the float graph.
        observer: it sees all values of the tensor.
        what: the name of the tensor in messages.
    """

    tensor: str
    observer: Observer
    what: str


def observe_activations(
    graph: FloatGraph,
    topology: Topology,
    fused: Mapping[str, FusedParameters],
    *,
    watches: tuple[Watch, ...],
    batches: Batches,
    reporter: Reporter,
    inputs: Mapping[str, Sequence[Watcher]] = MappingProxyType({}),
    smallest: float = EPSILON,
) -> tuple[QParams, ...]:
    """Show every batch's activations to the observers.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
        fused: by layer, its parameters during calibration: float bias, and float or fake-quantized weight.
        watches: which tensors are observed.
        batches: the calibration images.
        reporter: gets the progress, and a warning of every range that is not zero and is replaced.
        inputs: by tensor that layers read, who watches it too.
        smallest: a smaller scale becomes 1, as in ``numerics.range_qparams``.

    Returns:
        Scale and offset for each watch.

    Raises:
        InputError: a tensor holds NaN or infinity, or values so large that no range in float32 has them.
    """
    # No output is needed for what the graph takes.
    tensors = dict.fromkeys([*(watch.tensor for watch in watches), *inputs])
    tapped = [name for name in tensors if name not in graph.inputs]
    session = tapped_session(graph, topology, fused, tapped)
    for watch in watches:
        watch.observer.expect(batches.images)
    for watcher in itertools.chain(*inputs.values()):
        watcher.expect(batches.images)
    done = 0
    with reporter.phase(CALIBRATION, batches.images) as advance:
        for passed in forward_passes((session,), batches, tapped):
            reporter.add_part("calibration forward", passed.seconds)
            began = time.perf_counter()
            (activations,) = passed.tensors
            _observe(watches, activations)
            for tensor, watchers in inputs.items():
                for watcher in watchers:
                    watcher.update(activations[tensor])
            reporter.add_part("calibration observers", time.perf_counter() - began)
            done += passed.samples
            advance(done)
    result: list[QParams] = []
    if not watches:
        return ()
    with reporter.phase("search", len(watches), "tensors") as advance:
        for index, watch in enumerate(watches):
            result.append(_qparams(watch, smallest, reporter))
            advance(index + 1)
    return tuple(result)


def observe_both(
    graph: FloatGraph,
    topology: Topology,
    fused: Mapping[str, FusedParameters],
    rounded: Mapping[str, FusedParameters],
    *,
    batches: Batches,
    watchers: Mapping[str, Sequence[PairWatcher]],
) -> None:
    """Show every batch to two networks, and what both have at the same tensors to watchers.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
        fused: by layer, its parameters in the float network.
        rounded: by layer, its parameters in a network that is rounded in part.
        batches: the calibration images.
        watchers: by tensor that layers read, who watches it.
    """
    tapped = [name for name in watchers if name not in graph.inputs]
    sessions = [tapped_session(graph, topology, parameters, tapped) for parameters in (rounded, fused)]
    for watcher in itertools.chain(*watchers.values()):
        watcher.expect(batches.images)
    for passed in forward_passes(sessions, batches, tapped):
        read, wanted = passed.tensors
        for tensor, some in watchers.items():
            for watcher in some:
                watcher.update(read[tensor], wanted[tensor])


def _qparams(watch: Watch, smallest: float, reporter: Reporter) -> QParams:
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
        qparams = watch.observer.qparams(smallest=smallest)
    if not np.isfinite((qparams.scale, *qparams.range)).all():
        message = f"{watch.what} comes close to the largest float32 while calibrating, and no range holds it"
        raise InputError(message, hint=_OVERFLOWS)
    if qparams.scale == 1.0:  # a range of zeros, or one that is replaced
        true = watch.observer.qparams(smallest=SMALLEST_NORMAL)
        if true.scale < smallest:
            reporter.warn(input_warning(watch.what, true))
    return qparams


def _observe(watches: tuple[Watch, ...], activations: Mapping[str, Float32Array]) -> None:
    for watch in watches:
        try:
            watch.observer.update(activations[watch.tensor])
        except NonFiniteError as error:
            message = f"{watch.what} holds NaN or infinity while calibrating"
            raise InputError(message, hint=_OVERFLOWS) from error
