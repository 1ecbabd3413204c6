"""Classifiers: networks whose only output has a score for each class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amctq.inference.session import Outputs


def gives_classes(outputs: Outputs) -> bool:
    """Whether a batch of outputs holds scores of classes, (N, classes) with at least two classes."""
    return len(outputs) == 1 and outputs[0].ndim == 2 and outputs[0].shape[1] > 1 and outputs[0].dtype.kind in "fiu"


def predicted_classes(outputs: Outputs) -> NDArray[np.int64]:
    """The classes that scored highest, int64 (N,)."""
    classes: NDArray[np.int64] = np.argmax(outputs[0], axis=1)
    return classes
