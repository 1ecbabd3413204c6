"""The proof that onnxruntime computes the float network as MindSpore does; every run begins with it."""

from __future__ import annotations

import time
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
# The cube unit multiplies in float16 (11 bits); each of about 50 layers adds half a step. Estimated, not measured.
_ASCEND_TOLERANCE = 2e-2


def forward_tolerance(device: Device) -> float:
    """The allowed difference between MindSpore and onnxruntime, as a fraction of the largest logit."""
    return _ASCEND_TOLERANCE if device is Device.ASCEND else FORWARD_TOLERANCE


@dataclass(frozen=True, kw_only=True)
class ForwardProof:
    """The comparison of MindSpore and onnxruntime on the float network.

    Attributes:
        images: number of compared images.
        max_difference: largest difference of a logit, divided by the largest logit.
        argmax_differences: number of images whose class differs.
        mindspore_seconds: time of MindSpore for one image.
        onnxruntime_seconds: time of onnxruntime for one image.
    """

    images: int
    max_difference: float
    argmax_differences: int
    mindspore_seconds: float
    onnxruntime_seconds: float


def prove_forward(
    cell: Any, session: OnnxSession, images: Float32Array, *, tolerance: float = FORWARD_TOLERANCE
) -> ForwardProof:
    """Compare the forward pass of MindSpore with that of onnxruntime on one batch.

    All later steps run the exported graph. With this proof, their figures hold for MindSpore too.

    Args:
        cell: ``mindspore.nn.Cell`` in inference mode.
        session: runs the graph exported from ``cell``.
        images: (N, C, H, W) float32.
        tolerance: allowed difference of a logit, as a fraction of the largest logit.

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
        raise InputError(message, hint="give amctq only the classifier, without loss or extra heads")
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
