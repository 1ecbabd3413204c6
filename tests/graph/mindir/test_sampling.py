"""Grids of points and their sampling as amctq reads them from MindIR."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn, ops

from tests.graph.mindir.compare import assert_same

_POINTS = Tensor(np.random.default_rng(3).uniform(-1.6, 1.6, (1, 5, 6, 2)).astype(np.float32))


class Sampling(nn.Cell):
    """Reads its input at fixed points, some of them outside of the image."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def construct(self, x: Any) -> Any:
        return ops.grid_sample(x, _POINTS.broadcast_to((x.shape[0], 5, 6, 2)), **self.settings)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_an_image_is_read_at_points(mode: str, padding: str, align: bool) -> None:
    assert_same(Sampling(mode=mode, padding_mode=padding, align_corners=align), (4, 9, 8))


class Transforming(nn.Cell):
    """The grid of an affine map that the network computes."""

    def __init__(self, sizes: tuple[int, ...], *, align: bool) -> None:
        super().__init__()
        weight = np.random.default_rng(5).normal(0, 1, (6, len(sizes) * (len(sizes) + 1))).astype(np.float32)
        self.weight, self.sizes, self.align = Parameter(Tensor(weight)), sizes, align

    def construct(self, x: Any) -> Any:
        theta = (x @ self.weight).reshape(x.shape[0], len(self.sizes), -1)
        return ops.affine_grid(theta, (x.shape[0], 3, *self.sizes), align_corners=self.align)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("sizes", [(5, 7), (4, 5, 7)])
def test_the_grid_of_an_affine_map(sizes: tuple[int, ...], align: bool) -> None:
    model = assert_same(Transforming(sizes, align=align), (6,))
    # No product with a constant matrix but the network's own: it would be a layer to quantize.
    assert [node.op_type for node in model.graph.node if node.op_type in {"Gemm", "MatMul"}] == ["Gemm"]
