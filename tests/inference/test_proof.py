"""The proof refuses networks that give no logits, and those that MindSpore cannot run here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import mint, nn

from amctq.errors import InputError
from amctq.inference.proof import prove_forward


class Function(nn.Cell):
    """A function of images as a network."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def construct(self, x: Any) -> Any:
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"logits": x.mean((2, 3))}, "gives a dict, expected one"),
        (lambda x: (x.mean((2, 3)),), "gives a tuple, expected one"),
        (lambda x: x.mean((2, 3)).squeeze(), r"gives a tensor of shape \(3,\), expected one"),
        # MindSpore finds out only when the result is read.
        (lambda x: mint.roll(x, 1, 2).mean((2, 3)), "MindSpore cannot run this network .* unregistered"),
    ],
)
def test_what_is_no_classifier_is_refused(function: Callable[[Any], Any], message: str) -> None:
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    images = np.ones((3, 3, 8, 8), np.float32)
    session: Any = None  # is not reached
    with pytest.raises(InputError, match=message):
        prove_forward(Function(function), session, images)
