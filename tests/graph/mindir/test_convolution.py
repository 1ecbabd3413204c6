"""Convolutions as amctq reads them from MindIR."""

from __future__ import annotations

import pytest
from mindspore import nn

from tests.graph.mindir.compare import assert_same


@pytest.mark.parametrize("pad_mode", ["same", "valid", "pad"])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_pads_strides_and_dilates_as_in_mindspore(pad_mode: str, dilation: int, stride: int) -> None:
    padding = (1, 2, 0, 3) if pad_mode == "pad" else 0
    network = nn.Conv2d(
        4, 6, 3, stride=stride, dilation=dilation, pad_mode=pad_mode, padding=padding, group=2, has_bias=True
    )
    assert_same(network, (4, 11, 14))
