"""Other shapes and orders, joining and dividing, as amctq reads them from MindIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, mint, nn, ops

from tests.graph.mindir.compare import Function, assert_same

_ROWS = Tensor(np.random.default_rng(7).normal(0, 1, (4, 6)).astype(np.float32))


def shapes(x: Any) -> Any:
    n = x.shape[0]
    return (
        x.reshape(n, -1),
        ops.reshape(x, (-1, 3)),
        x.view(n, 2, 2, -1),
        x.view(-1, x.shape[1] * x.shape[2]),
        x.reshape(n * 4, 6),
        x.reshape(-1, n),
        x.reshape((*x.shape[:1], 24)),
        x.reshape(-1, 24).view_as(x),
        ops.flatten(x, start_dim=1),
        x.flatten(start_dim=0, end_dim=1),
        mint.flatten(x, 1),
        x.flatten(),
    )


def axes(x: Any) -> Any:
    return (
        ops.expand_dims(x, -1),
        x.unsqueeze(1),
        x.expand_dims(2).squeeze(2),
        x[:, None],
        x.transpose(0, 2, 1),
        ops.transpose(x, (2, 0, 1)),
        x.permute(0, 2, 1),
        x.T,
        x.swapaxes(-1, 0),
        mint.transpose(x, 1, 2),
        ops.movedim(x, 1, -1),
    )


def divided(x: Any) -> Any:
    return (
        *ops.split(x, 2, 1),
        *ops.split(x, [1, 2, 3], 2),
        *ops.split(x, 4, 2),
        *ops.chunk(x, 3, 2),
        *x.chunk(4, 2),
        *ops.tensor_split(x, 2, 1),
    )


def joined(x: Any) -> Any:
    return (
        ops.stack(ops.unstack(x, 1)[::-1], 1),
        mint.unbind(x, 1)[1],
        ops.stack([x, x * 2], -1),
        ops.cat([x, x * 2], 1),
        mint.cat((x, x * 2), -1),
        ops.concat((x, _ROWS.expand_dims(0).broadcast_to((x.shape[0], -1, -1))), 1),
        ops.chunk(ops.cat([x, x * 2], 0), 2, 0)[1],
    )


def repeated(x: Any) -> Any:
    n = x.shape[0]
    return (
        ops.tile(x, (1, 2, 3)),
        x.tile((2, 1, 1, 2)),
        x.tile((2,)),
        _ROWS.expand_dims(0).tile((n, 1, 1)) + x,
        ops.broadcast_to(x[:, :, :1], (-1, 4, 5)),
        x.expand_dims(1).broadcast_to((n, 3, 4, 6)),
        x[:, :1].expand_as(x),
        _ROWS.broadcast_to((n, 4, 6)) * x,
        ops.repeat_interleave(x, 2, 1),
        x.repeat_interleave(3, -1),
        ops.repeat_elements(x, 2, 1),
    )


@pytest.mark.parametrize(
    ("function", "outputs"), [(shapes, 12), (axes, 11), (divided, 15), (joined, 7), (repeated, 11)]
)
def test_shapes_are_those_of_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


def shuffles(x: Any) -> Any:
    n, c, h, w = x.shape
    return (
        x.reshape(n, 2, c // 2, h, w).transpose(0, 2, 1, 3, 4).reshape(n, c, h, w),
        ops.DepthToSpace(2)(x),
        ops.SpaceToDepth(2)(x),
        ops.pixel_shuffle(x, 2),
        ops.pixel_unshuffle(x, 2),
    )


def windows(x: Any) -> Any:
    n, h, w, c = x.shape
    y = x.reshape(n, h // 2, 2, w // 4, 4, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 8, c) * 2
    number = int(y.shape[0] / (h * w / 8))
    return y.reshape(number, h // 2, w // 4, 2, 4, -1).transpose(0, 1, 3, 2, 4, 5).reshape(number, h, w, -1)


def test_channels_and_windows_move_as_in_mindspore() -> None:
    assert_same(shuffles, (8, 4, 6), outputs=5)
    assert_same(nn.ChannelShuffle(2), (8, 4, 6))
    assert_same(Function(ops.channel_shuffle, 4), (8, 4, 6))
    assert_same(windows, (4, 8, 6))


def mint_shapes(x: Any) -> Any:
    return mint.stack((x, x * 2), -1), mint.repeat_interleave(x, 2, 1), mint.repeat_interleave(x, 3)


def plain_shapes(x: Any) -> Any:
    return ops.stack((x, x * 2), -1), ops.repeat_interleave(x, 2, 1), x.flatten(order="C").repeat_interleave(3, 0)


def test_shapes_that_mindspore_has_no_kernel_of_on_a_cpu() -> None:
    assert_same(mint_shapes, (4, 6), outputs=3, like=plain_shapes)


def identity(x: Any) -> Any:
    return x[: x.shape[0]]


def test_a_network_that_hands_its_input_on() -> None:
    assert_same(identity, (4, 6))


def twice(x: Any) -> Any:
    y = x.astype(mindspore.int32)
    return y, y, x


def test_a_tensor_that_is_two_outputs() -> None:
    assert_same(twice, (4, 6), outputs=3)
