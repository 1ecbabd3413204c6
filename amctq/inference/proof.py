"""The proof that onnxruntime computes the float network as MindSpore does; every run begins with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from amctq.choices import Device
from amctq.errors import CheckError, InputError, first_line
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.numerics import Float32Array
from amctq.signals import signal_handlers_kept

# Two float engines add in different orders; logits are of the order of 10.
FORWARD_TOLERANCE = 1e-3
# float16 has 11 bits, and the cube unit of an NPU multiplies in it; each of about 50 layers adds half a step.
# Estimated, not measured.
_HALF_TOLERANCE = 2e-2


def forward_tolerance(device: Device, *, half: bool = False) -> float:
    """The allowed difference between MindSpore and onnxruntime, as a fraction of the largest logit.

    Args:
        device: where MindSpore runs.
        half: parts of the network compute in float16.
    """
    return _HALF_TOLERANCE if device is Device.ASCEND or half else FORWARD_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class ForwardProof:
    """The comparison of MindSpore and onnxruntime on the float network.

    Attributes:
        images: number of compared images.
        max_difference: largest difference of a logit, divided by the largest logit.
        argmax_differences: number of images whose class differs.
    """

    images: int
    max_difference: float
    argmax_differences: int


def prove_forward(
    cell: Any, session: OnnxSession, images: Float32Array, *, tolerance: float = FORWARD_TOLERANCE
) -> ForwardProof:
    """Compare the forward pass of MindSpore with that of onnxruntime, at two batch sizes.

    All later steps run the graph that was read from MindSpore's export. With this proof, their figures hold for
    MindSpore too. Two sizes show that the batch is dynamic.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode.
        session: runs the graph read from ``cell``.
        images: (N, C, H, W) float32; the first is a batch of its own.
        tolerance: allowed difference of a logit, as a fraction of the largest logit.

    Raises:
        InputError: the network's output is not one (N, classes) tensor, or not finite, or a runtime cannot run it.
        CheckError: the two differ by more than ``tolerance``.
    """
    if not np.isfinite(images).all():
        message = "the images hold NaN or infinity"
        raise InputError(message, hint="check the dataset")
    rest = images[1:] if len(images) > 1 else np.repeat(images, 2, axis=0)
    results = [_run_both(cell, session, batch) for batch in (images[:1], rest)]
    own, exported = (np.concatenate(parts) for parts in zip(*results, strict=True))
    proof = ForwardProof(
        images=len(own),
        max_difference=float(np.abs(own - exported).max() / max(float(np.abs(own).max()), 1e-12)),
        argmax_differences=int((own.argmax(1) != exported.argmax(1)).sum()),
    )
    if not proof.max_difference <= tolerance:
        message = (
            f"the float graph that amctq has read differs from MindSpore by {proof.max_difference:.2g} of the largest "
            f"logit on {proof.images} images (at most {tolerance:g} expected)"
        )
        hint = "does the network compute with random numbers, or change its own parameters? If not, please report this"
        raise CheckError(message, hint=hint)
    return proof


def _run_both(cell: Any, session: OnnxSession, images: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The logits of MindSpore and of onnxruntime."""
    import mindspore

    try:
        with signal_handlers_kept():
            output = cell(mindspore.Tensor(images))
            # MindSpore computes later than it is called, so that only reading the result shows some failures.
            own = output.asnumpy().astype(np.float32) if isinstance(output, mindspore.Tensor) else None
    except Exception as error:
        message = f"MindSpore cannot run this network on images {images.shape}: {first_line(error)}"
        raise InputError(message, hint="check --image-size, and that the network runs by itself") from error
    if own is None or own.ndim != 2:
        found = f"a {type(output).__name__}" if own is None else f"a tensor of shape {own.shape}"
        message = f"the network gives {found}, expected one (N, classes) tensor"
        raise InputError(message, hint="give amctq only the classifier, without loss or extra heads")
    try:
        exported = session.logits(images)
    except Exception as error:  # its message names the node, which has the name of its cell and primitive
        message = f"onnxruntime cannot run the network on images {images.shape}: {first_line(error)}"
        raise InputError(message, hint="rewrite the named operation in construct() with a standard one") from error
    if not np.isfinite(own).all():
        message = "the float network gives NaN or infinity on the first images"
        raise InputError(message, hint="the checkpoint is damaged, or the preprocessing is not the one of training")
    return own, exported
