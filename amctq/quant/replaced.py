"""What AMCT's rule for narrow ranges takes away: a scale below EPSILON becomes 1, and what it stands for becomes 0.

The rule holds for AMCT's files, and for the placement that they describe. A range of zeros loses nothing by it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from amctq.quant.numerics import EPSILON, Float32Array, QParams, signed_range

_RULE = f"AMCT's rule replaces a scale below {EPSILON:.3g}"


def replaced_channels(weight: Float32Array, scale: Float32Array, *, bits: int = 8) -> int:
    """How many channels have a larger scale only because of the rule.

    Args:
        weight: float32 of shape (C_out, …).
        scale: the chosen scales, float32 of shape (C_out,) or (1,); one of the tensor is one channel.
        bits: width of the integers.
    """
    largest = np.abs(weight.reshape(len(scale), -1)).max(axis=1)
    return int(np.sum((largest > 0) & (largest / signed_range(bits)[1] < EPSILON) & (scale >= EPSILON)))


def input_warning(what: str, true: QParams) -> str:
    """For the user: the values of a tensor get lost; ``true`` is how the rule finds them."""
    largest = max(map(abs, true.range))
    return f"{what}: its values, up to {largest:.2g}, become 0, because {_RULE} by 1 (ptq --placement ort keeps them)"


def weights_warning(channels: Mapping[str, tuple[int, int]]) -> str | None:
    """For the user: weights get lost.

    Args:
        channels: by layer, how many channels the rule replaces, and of how many.

    Returns:
        None where there are none.
    """
    found = ", ".join(f"{name} ({few} of {all_} scales)" for name, (few, all_) in channels.items() if few)
    if not found:
        return None
    return f"very small weights become 0 or coarser, because {_RULE}: {found} (ptq --placement ort keeps them)"


def record_warning(names: tuple[str, ...]) -> str:
    """For the user: the record cannot hold the scales of these layers."""
    return (
        f"calibration_record.txt: {_RULE} by 1, and so does the record for {', '.join(names)}; "
        "the ONNX file and placement.json have the true scales"
    )
