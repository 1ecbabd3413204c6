"""The proof that amctq's float graph computes what the network itself does; every run begins with it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from amctq.choices import Device
from amctq.data.inputs import Array, Inputs, part, repeated, samples_in, shapes_of
from amctq.errors import CheckError, InputError, first_line
from amctq.inference.cell_session import NoTensorsError
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.session import Outputs, Session

# Two float engines add in different orders; the largest values are of the order of 10.
FORWARD_TOLERANCE = 1e-3
# float16 has 11 bits, and the cube unit of an NPU multiplies in it; each of about 50 layers adds half a step.
# Estimated, not measured.
_HALF_TOLERANCE = 2e-2
# Four steps of float32 at 1: of what is the difference of values near 1, a share of its own size says nothing.
_ROUNDING = 2.0**-21
# The smallest size of an output. Below, engines may lose digits that float32 has no room for.
_LEAST = 1e-30
# Of an output that depends on a choice, the share of values that may be others. Of YOLOv10's 300 best boxes, 1 % are.
_EXCHANGED = 0.1
_NUDGE = 1e-6  # of an input's values: less than two engines differ by
# How often what a nudge changes two engines may differ by, in many layers.
_NUDGES = 10


class CannotRunError(InputError):
    """What is to run the network itself cannot do so."""


def forward_tolerance(device: Device, *, half: bool = False) -> float:
    """The allowed difference between MindSpore and onnxruntime, as a fraction of the largest value.

    Args:
        device: where MindSpore runs.
        half: parts of the network compute in float16.
    """
    return _HALF_TOLERANCE if device is Device.ASCEND or half else FORWARD_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class ForwardProof:
    """The comparison of the network itself, in MindSpore or as its file, with amctq's float graph.

    Attributes:
        images: number of compared samples.
        max_difference: largest difference of a value, divided by the largest value of the same output. Of outputs that
            depend on a choice, the values that were exchanged are left out.
        exchanged: the share of these, of the output that has most of them.
        runtime: what ran the network itself.
    """

    images: int
    max_difference: float
    exchanged: float = 0.0
    runtime: str = "MindSpore"


def prove_forward(
    original: Session,
    session: OnnxSession,
    inputs: Inputs,
    *,
    tolerance: float = FORWARD_TOLERANCE,
    runtime: str = "MindSpore",
    chosen: Container[str] = (),
    coarse: Mapping[str, float] = MappingProxyType({}),
) -> ForwardProof:
    """Compare the forward pass of the network itself with that of amctq's float graph, at two batch sizes.

    All later steps run the graph. With this proof, their figures hold for the network too. Two sizes show that the
    batch is dynamic.

    Args:
        original: runs the network itself.
        session: runs the graph that was read from it.
        inputs: a few samples; the first is a batch of its own.
        tolerance: allowed difference of a value, as a fraction of the largest value of its output.
        runtime: what runs the network itself.
        chosen: names of the outputs that depend on a choice, such as the best boxes in their order. Where two values
            are nearly equal, each engine may choose another one.
        coarse: by name of an output, the size of the values that its last digits come from, where these may be larger
            than its own.

    Raises:
        CannotRunError: ``original`` cannot run the network.
        InputError: the network's outputs are no tensors, or not finite, or onnxruntime cannot run it.
        CheckError: the two differ by more than ``tolerance``.
    """
    if not all(np.isfinite(array).all() for array in inputs.values()):
        message = "the samples hold NaN or infinity"
        raise InputError(message, hint="check the dataset")
    samples = samples_in(inputs)
    rest = part(inputs, slice(1, None)) if samples > 1 else repeated(inputs, 2)
    batches = (part(inputs, slice(1)), rest)
    results = [_run_both(original, session, batch, runtime) for batch in batches]
    exchanged, differences = 0.0, []
    for index, port in enumerate(session.outputs):
        own, read = ([both[way][index] for both in results] for way in (0, 1))
        rounding = _ROUNDING * coarse.get(port.name, 0.0)
        apart = _apart(own, read, rounding)
        if apart.max(initial=0.0) > tolerance:
            # A small rest of large values changes as much when the input does.
            before, after = _nudged(session, batches, index)
            pairs = zip(before, after, strict=True)
            changed = max(float(np.abs(one.astype(np.float64) - other).max(initial=0.0)) for one, other in pairs)
            apart = _apart(own, read, max(rounding, min(_ROUNDING, _NUDGES * changed)))
        if port.name in chosen:
            share = float(np.mean(apart > tolerance))
            if share <= _EXCHANGED or share <= 2 * _share_of_a_nudge(session, batches, index, tolerance):
                exchanged = max(exchanged, share)
                apart = apart[apart <= tolerance]
        differences.append(float(apart.max(initial=0.0)))
    proof = ForwardProof(
        images=sum(map(samples_in, batches)),
        max_difference=max(differences),
        exchanged=exchanged,
        runtime=runtime,
    )
    if not proof.max_difference <= tolerance:
        message = (
            f"the float graph that amctq has read differs from {runtime} by {proof.max_difference:.2g} of the largest "
            f"value on {proof.images} samples (at most {tolerance:g} expected)"
        )
        hint = "does the network compute with random numbers, or change its own parameters? If not, please report this"
        raise CheckError(message, hint=hint)
    return proof


def _apart(own: Sequence[Array], read: Sequence[Array], rounding: float = 0.0) -> NDArray[np.float64]:
    """The differences of the batches of one output, as fractions of its largest value; 0 where within ``rounding``."""
    largest = max(float(np.abs(one).max(initial=0.0)) for one in own)
    pairs = zip(own, read, strict=True)
    apart: NDArray[np.float64] = np.concatenate(
        [np.abs(one.astype(np.float64) - other).ravel() for one, other in pairs]
    )
    return np.where(apart > rounding, apart / max(largest, _LEAST), 0.0)


def _nudged(session: OnnxSession, batches: Sequence[Inputs], index: int) -> tuple[list[Array], list[Array]]:
    """The batches of an output before and after the smallest change of the inputs."""
    random = np.random.default_rng(1)
    before, after = [], []
    for inputs in batches:
        nudged = {
            name: array * (1 + _NUDGE * random.standard_normal(array.shape, np.float32)).astype(array.dtype)
            if array.dtype.kind == "f"
            else array
            for name, array in inputs.items()
        }
        before.append(session.run(inputs)[index])
        after.append(session.run(nudged)[index])
    return before, after


def _share_of_a_nudge(session: OnnxSession, batches: Sequence[Inputs], index: int, tolerance: float) -> float:
    """The share of an output's values that the smallest change of the inputs exchanges."""
    return float(np.mean(_apart(*_nudged(session, batches, index)) > tolerance))


def _run_both(original: Session, session: OnnxSession, inputs: Inputs, runtime: str) -> tuple[Outputs, Outputs]:
    """The outputs of the network itself and of the graph."""
    shapes = shapes_of(inputs)
    try:
        own = original.run(inputs)
    except NoTensorsError as error:
        message = f"the network's {error}"
        raise InputError(message, hint="give amctq the network without its loss") from error
    except InputError:
        raise
    except Exception as error:
        message = f"{runtime} cannot run this network on a batch of {shapes}: {first_line(error)}"
        raise CannotRunError(message, hint="check --image-size, and that the network runs by itself") from error
    try:
        read = session.run(inputs)
    except Exception as error:  # its message names the node, which has the name of its cell and primitive
        message = f"onnxruntime cannot run the network on a batch of {shapes}: {first_line(error)}"
        raise InputError(message, hint="rewrite the named operation in construct() with a standard one") from error
    if [array.shape for array in own] != [array.shape for array in read]:
        found, expected = ([array.shape for array in arrays] for arrays in (read, own))
        message = f"the float graph that amctq has read gives {found} for a batch of {shapes}, {runtime} {expected}"
        raise CheckError(
            message, hint="does the network compute with the number of samples? If not, please report this"
        )
    for array in own:
        if array.ndim == 0 or len(array) != samples_in(inputs):
            message = f"the network gives an output of the shape {array.shape} for a batch of {shapes}"
            raise InputError(message, hint="let every output have the batch as its first axis")
    if not all(np.isfinite(array).all() for array in own):
        message = "the float network gives NaN or infinity on the first samples"
        raise InputError(message, hint="the checkpoint is damaged, or the preprocessing is not the one of training")
    return own, read
