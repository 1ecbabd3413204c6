"""The targets of a batch, as a metric reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets


def one_array(targets: Targets) -> NDArray[Any] | None:
    """All targets of a batch as numbers in one array; None where there are none, or not of one shape."""
    try:
        array = np.asarray(targets)
    except (TypeError, ValueError):  # several shapes
        return None
    return array if array.dtype.kind in "biuf" else None


def described(targets: Targets) -> str:
    """What the targets are, for messages."""
    if targets is None:
        return "no targets"
    array = one_array(targets)
    return "targets that make no array" if array is None else f"targets {array.dtype} {array.shape}"
