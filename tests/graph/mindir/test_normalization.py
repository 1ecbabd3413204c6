"""Normalizations as amctq reads them from MindIR."""

from __future__ import annotations

from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, mint, nn, ops

from tests.graph.mindir.compare import Function, assert_same

RANDOM = np.random.default_rng(3)
SHAPE = (4, 6, 7)


def tensor(*shape: int) -> Tensor:
    """A positive parameter."""
    return Tensor(RANDOM.uniform(0.5, 1.5, shape), mindspore.float32)


def trained(cell: nn.Cell) -> nn.Cell:
    """The cell with random parameters and statistics."""
    for parameter in cell.get_parameters():
        parameter.set_data(tensor(*parameter.shape))
    return cell.set_train(False)


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        (nn.BatchNorm1d(4), (4,)),
        (nn.BatchNorm1d(4), (4, 5)),
        (nn.BatchNorm2d(4, eps=1e-2), SHAPE),
        (nn.BatchNorm2d(4, affine=False), SHAPE),
        (nn.BatchNorm3d(4), (4, 3, 4, 5)),
    ],
)
def test_batch_norm(cell: nn.Cell, shape: tuple[int, ...]) -> None:
    assert_same(trained(cell), shape)


def test_batch_norm_of_mint() -> None:
    parameters = [tensor(4) for _ in range(4)]
    mean, variance, gamma, beta = parameters
    like = Function(ops.batch_norm, mean, variance, gamma, beta, eps=1e-2)
    network = Function(mint.nn.functional.batch_norm, mean, variance, gamma, beta, False, 0.1, 1e-2)
    assert_same(network, SHAPE, like=like)
    like = Function(ops.batch_norm, mean, variance, ops.ones(4), ops.zeros(4), eps=1e-2)
    network = Function(mint.nn.functional.batch_norm, mean, variance, None, None, False, 0.1, 1e-2)
    assert_same(network, SHAPE, like=like)


@pytest.mark.parametrize(
    ("shape", "norm", "params"), [((7,), -1, -1), ((6, 7), 2, 2), ((4, 6, 7), 1, 1), ((6, 7), 1, 2), ((7,), 2, 3)]
)
def test_layer_norm(shape: tuple[int, ...], norm: int, params: int) -> None:
    cell = nn.LayerNorm(shape, begin_norm_axis=norm, begin_params_axis=params, epsilon=1e-2)
    assert_same(trained(cell), SHAPE)


def test_layer_norm_of_mint() -> None:
    gamma, beta = tensor(6, 7), tensor(6, 7)
    like = nn.LayerNorm((6, 7), begin_norm_axis=2, begin_params_axis=2, epsilon=1e-2)
    like.gamma.set_data(gamma)
    like.beta.set_data(beta)
    assert_same(Function(mint.nn.functional.layer_norm, (6, 7), gamma, beta, 1e-2), SHAPE, like=like)
    plain = nn.LayerNorm((7,), epsilon=1e-5)
    assert_same(Function(mint.nn.functional.layer_norm, (7,)), SHAPE, like=plain)


@pytest.mark.parametrize("cell", [nn.GroupNorm(2, 4, eps=1e-2), mint.nn.GroupNorm(2, 4, affine=False)])
def test_group_norm(cell: nn.Cell) -> None:
    assert_same(trained(cell), SHAPE)


@pytest.mark.parametrize(
    ("cell", "shape"),
    [
        (nn.InstanceNorm1d(4), (4, 6)),
        (nn.InstanceNorm2d(4, eps=1e-2), SHAPE),
        (nn.InstanceNorm2d(4, affine=False), SHAPE),
        (nn.InstanceNorm3d(4), (4, 3, 4, 5)),
    ],
)
def test_instance_norm_is_a_group_norm_with_groups_of_one(cell: Any, shape: tuple[int, ...]) -> None:
    trained(cell)
    like = Function(ops.group_norm, 4, Tensor(cell.gamma.asnumpy()), Tensor(cell.beta.asnumpy()), cell.eps)
    assert_same(cell, shape, like=like)


def test_local_response_norm() -> None:
    assert_same(Function(ops.lrn, 2, 1.5, 0.3, 0.6), (8, 4, 5))


@pytest.mark.parametrize("axis", [1, -1])
def test_l2_normalize(axis: int) -> None:
    assert_same(ops.L2Normalize(axis=axis, epsilon=1.0), SHAPE)


@pytest.mark.parametrize("shape", [(7,), (6, 7)])
def test_rms_norm(shape: tuple[int, ...]) -> None:
    gamma = tensor(*shape)
    axes = tuple(range(-len(shape), 0))

    def like(x: Any) -> Any:
        return x / ops.sqrt(ops.mean(x * x, axes, True) + 0.1) * gamma

    def network(x: Any) -> Any:
        return ops.rms_norm(x, gamma, 0.1)[0]

    assert_same(network, SHAPE, like=like)


def test_rms_norm_of_a_sum() -> None:
    gamma, other = tensor(7), tensor(7)

    def like(x: Any) -> Any:
        total = x + x * other
        return total / ops.sqrt(ops.mean(total * total, -1, True) + 0.1) * gamma, total

    def network(x: Any) -> Any:
        normal, _, total = ops.add_rms_norm(x, x * other, gamma, 0.1)
        return normal, total

    assert_same(network, SHAPE, outputs=2, like=like)
