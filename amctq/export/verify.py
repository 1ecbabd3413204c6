"""Verification: what was exported is run, and its accuracy is measured beside the float network's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Batches
from amctq.errors import CheckError, InputError, first_line
from amctq.export.session import OnnxSession, Session
from amctq.quant.numerics import Float32Array
from amctq.signals import signal_handlers_kept

# Two float engines add up in different orders; logits are of the order of 10.
FORWARD_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class ForwardProof:
    """That onnxruntime computes what MindSpore computes.

    Attributes:
        images: how many were compared.
        max_difference: largest difference of a logit, divided by the largest logit.
        argmax_differences: images whose class differs.
        mindspore_seconds: that MindSpore took for one image.
        onnxruntime_seconds: that onnxruntime took for one image.
    """

    images: int
    max_difference: float
    argmax_differences: int
    mindspore_seconds: float
    onnxruntime_seconds: float


def prove_forward(
    cell: Any, session: OnnxSession, images: Float32Array, *, tolerance: float = FORWARD_TOLERANCE
) -> ForwardProof:
    """Compare MindSpore's own forward with onnxruntime's on one batch.

    Everything that follows runs the exported graph; this is what makes its figures MindSpore's.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode.
        session: of the graph exported from it.
        images: (N, C, H, W) float32.
        tolerance: of a logit, as a part of the largest one.

    Raises:
        InputError: the network's output is not one (N, classes) tensor, or not finite.
        CheckError: the two differ by more than ``tolerance``.
    """
    import mindspore

    if not np.isfinite(images).all():
        message = "the images hold NaN or infinity"
        raise InputError(message, hint="check the dataset")
    start = time.perf_counter()
    try:
        with signal_handlers_kept():
            output = cell(mindspore.Tensor(images))
    except Exception as error:
        message = f"MindSpore cannot run this network on images {images.shape}: {first_line(error)}"
        raise InputError(message, hint="check --image-size, and that the network runs by itself") from error
    if isinstance(output, (tuple, list)) or output.ndim != 2:
        message = f"the network gives {getattr(output, 'shape', 'several tensors')}, expected one (N, classes) tensor"
        raise InputError(message, hint="give amctq the classifier alone, without loss or extra heads")
    with signal_handlers_kept():
        own = output.asnumpy()
    middle = time.perf_counter()
    exported = session.logits(images)
    end = time.perf_counter()
    if not np.isfinite(own).all():
        message = "the float network gives NaN or infinity on the first images"
        raise InputError(message, hint="the checkpoint is damaged, or the preprocessing is not the one of training")
    proof = ForwardProof(
        images=len(images),
        max_difference=float(np.abs(own - exported).max() / max(float(np.abs(own).max()), 1e-12)),
        argmax_differences=int((own.argmax(1) != exported.argmax(1)).sum()),
        mindspore_seconds=(middle - start) / len(images),
        onnxruntime_seconds=(end - middle) / len(images),
    )
    if not proof.max_difference <= tolerance:
        message = (
            f"the exported float graph differs from MindSpore by {proof.max_difference:.2g} of the largest logit "
            f"on {proof.images} images (at most {tolerance:g} expected)"
        )
        raise CheckError(message, hint="please report this with the network; nothing was written")
    return proof


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Of two ways to compute the same network.

    Attributes:
        images: how many were compared.
        argmax_differences: images whose class differs.
        max_difference: largest difference of a logit, divided by the largest logit.
        mean_difference: mean difference of a logit, divided by the largest logit.
        top1: of the first way, percent of these images.
    """

    images: int
    argmax_differences: int
    max_difference: float
    mean_difference: float
    top1: float


def compare_forward(one: Session, other: Session, batches: Batches, advance: Callable[[int], None]) -> Agreement:
    """Run every image of ``batches`` through two sessions.

    Args:
        one: a quantized network.
        other: what should be the same network.
        batches: the images.
        advance: is told how many are done.
    """
    images = differences = logits = hits = 0
    largest = difference = total = 0.0
    for batch, labels in batches:
        own, exported = one.logits(batch), other.logits(batch)
        images += len(batch)
        hits += int((own.argmax(1) == labels).sum())
        differences += int((own.argmax(1) != exported.argmax(1)).sum())
        largest = max(largest, float(np.abs(own).max()))
        apart = np.abs(own - exported)
        difference, total, logits = max(difference, float(apart.max())), total + float(apart.sum()), logits + apart.size
        advance(images)
    largest = max(largest, 1e-12)
    return Agreement(
        images=images,
        argmax_differences=differences,
        max_difference=difference / largest,
        mean_difference=total / logits / largest,
        top1=100.0 * hits / images,
    )


@dataclass(frozen=True, eq=False)
class Ranks:
    """For every image, how many classes scored above its label: 0 is a top-1 hit.

    Ties count as the lower class index first, as arg-max does. ``classes`` is how many classes there are.
    """

    ranks: NDArray[np.int64]
    classes: int

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether each image is right at top-1, (N,)."""
        right: NDArray[np.bool_] = self.ranks == 0
        return right

    @property
    def top1(self) -> float:
        """Percent of images whose label scored highest."""
        return 100.0 * float(np.mean(self.ranks == 0))

    @property
    def top5(self) -> float:
        """Percent of images whose label is among the five highest scores."""
        return 100.0 * float(np.mean(self.ranks < 5))


def rank_labels(logits: Float32Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many classes of each row of ``logits`` (N, classes) stand before its label (N,)."""
    own = logits[np.arange(len(labels)), labels][:, None]
    before = (logits == own) & (np.arange(logits.shape[1])[None, :] < labels[:, None])
    ranks: NDArray[np.int64] = ((logits > own) | before | np.isnan(logits)).sum(axis=1)
    return ranks


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What a network said of every image.

    Attributes:
        ranks: the place of each image's class.
        predicted: the class that scored highest, int64 (N,).
    """

    ranks: Ranks
    predicted: NDArray[np.int64]

    def disagreements(self, other: Outcome) -> int:
        """Images for which another network names another class."""
        return int((self.predicted != other.predicted).sum())


def measure(session: Session, batches: Batches, advance: Callable[[int], None]) -> Ranks:
    """Run every image of ``batches`` through a session."""
    return classify(session, batches, advance).ranks


def classify(session: Session, batches: Batches, advance: Callable[[int], None]) -> Outcome:
    """Run every image of ``batches`` through a session, and keep what it says.

    Raises:
        InputError: an image has a class that the network has not.
    """
    ranks: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    done = classes = 0
    for images, labels in batches:
        logits = session.logits(images)
        if labels.max() >= logits.shape[1]:
            message = f"an image has class {labels.max()}, and the network has {logits.shape[1]} classes (from 0)"
            raise InputError(message, hint="check --num-classes and the labels of --dataset")
        classes = logits.shape[1]
        ranks.append(rank_labels(logits, labels))
        predicted.append(logits.argmax(1))
        done += len(labels)
        advance(done)
    return Outcome(ranks=Ranks(np.concatenate(ranks), classes), predicted=np.concatenate(predicted))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images per second of two sessions that took turns on one batch.

    Attributes:
        float32: median of the float session.
        int8: median of the quantized session.
        batch_size: images per run.
        rounds: runs of each.
    """

    float32: float
    int8: float
    batch_size: int
    rounds: int

    @property
    def ratio(self) -> float:
        """How many times faster INT8 is."""
        return self.int8 / self.float32


def compare_speed(
    float_session: Session,
    int8_session: Session,
    images: Float32Array,
    *,
    rounds: int = 9,
    seconds: float = 3,
) -> Speed:
    """Time two sessions in turns, so that whatever else the machine does meets both alike.

    Args:
        float_session: of the float network.
        int8_session: of the quantized network, in the same engine.
        images: one batch, (N, C, H, W).
        rounds: how often each runs, at most.
        seconds: no further round starts after that long; at least three are run.
    """
    sessions = (float_session, int8_session)
    for session in sessions:
        session.logits(images)  # the first run allocates
    times: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    while len(times[0]) < rounds and (len(times[0]) < 3 or time.perf_counter() - begin < seconds):
        for session, own in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.logits(images)
            own.append(time.perf_counter() - start)
    per_second = [len(images) / statistics.median(own) for own in times]
    return Speed(float32=per_second[0], int8=per_second[1], batch_size=len(images), rounds=len(times[0]))
