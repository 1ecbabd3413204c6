"""Sums, means, deviations, norms and extremes as amctq reads them from MindIR."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mindspore
import numpy as np
import pytest
from mindspore import Tensor, mint, ops

from tests.graph.mindir.compare import assert_same


def means(x: Any) -> Any:
    return (
        x.mean() + x,
        x.mean(1),
        x.mean((1, 2), keep_dims=True),
        ops.mean(x, -1),
        x.mean(axis=0),
        mint.mean(x, -1, True),
        mint.mean(x, (1, 2)),
        mint.mean(x.astype(mindspore.int32), 1, dtype=mindspore.float32),
    )


def sums(x: Any) -> Any:
    whole = x.astype(mindspore.int32)
    return (
        x.sum(),
        x.sum(1),
        x.sum((1, -1), keepdims=True),
        ops.sum(x, dim=1, keepdim=True),
        (x > 0).sum(1),
        mint.sum(whole, 1),
        whole.sum(-1),
        ops.prod(x, 1),
        mint.prod(x, -1, True),
        ops.count_nonzero(whole, 1),
    )


def extremes(x: Any) -> Any:
    return (
        x.max(-1, keepdims=True),
        x.min((1, 2)),
        ops.amax(x, (1, 2)),
        ops.amin(x, -1, True),
        mint.max(x),
        mint.min(x),
        (x > 0).all(1),
        (x > 0).any(-1),
        ops.any(x > 0, 1, True),
        ops.all(x > -100),
    )


def positions(x: Any) -> Any:
    largest, place = ops.max(x, 1)
    least, where = ops.min(x, axis=-1, keepdims=True)
    value, index = mint.max(x, dim=1)
    small, number = mint.min(x, dim=-1, keepdim=True)
    return largest, place, least, where, value, index, small, number


def arguments(x: Any) -> Any:
    return (x.argmax(1), ops.argmax(x, -1), ops.argmax(x, 1, True), ops.argmin(x, 1), ops.argmax(x[:1]))


def deviations(x: Any) -> Any:
    std, mean = ops.ReduceStd(axis=1, unbiased=False, keep_dims=True)(x)
    variance, average = ops.var_mean(x, 1)
    return ops.std(x, 1), x.std(-1), ops.std(x, 1, 1, True), ops.var(x, (1, 2)), std, mean, variance, average


def norms(x: Any) -> Any:
    return (
        ops.norm(x, dim=-1),
        ops.norm(x, 1, dim=-1),
        ops.norm(x, math.inf, dim=1, keepdim=True),
        x / ops.norm(x, dim=-1, keepdim=True),
        ops.LpNorm(axis=-1, p=3, keep_dims=True)(x),
        ops.LpNorm(axis=(1, 2), p=2)(x),
        ops.logsumexp(x, 1),
        ops.logsumexp(x, (1, 2), True),
        ops.cosine_similarity(x, x * x, -1),
    )


@pytest.mark.parametrize(
    ("function", "outputs"),
    [(means, 8), (sums, 10), (extremes, 10), (positions, 8), (arguments, 5), (deviations, 8), (norms, 9)],
)
def test_reductions_are_those_of_mindspore(function: Callable[[Any], Any], outputs: int) -> None:
    assert_same(function, (4, 6), outputs=outputs)


def spatial_means(x: Any) -> Any:
    return x.mean((2, 3)), x.mean((-1, -2), keep_dims=True), x.mean(2)


def test_a_mean_over_height_and_width_is_a_global_pool() -> None:
    model = assert_same(spatial_means, (3, 4, 6), outputs=3)
    assert [node.op_type for node in model.graph.node].count("GlobalAveragePool") == 2


def mint_statistics(x: Any) -> Any:
    return mint.std(x, dim=1), mint.var(x, dim=(1, 2), correction=0, keepdim=True), mint.logsumexp(x, 1)


def statistics(x: Any) -> Any:
    return ops.std(x, 1, 1), ops.var(x, (1, 2), 0, True), ops.logsumexp(x, 1)


def mint_norms(x: Any) -> Any:
    return (mint.norm(x, 2.0, -1, True), *[mint.linalg.vector_norm(x, order, -1) for order in (3, 1, 0, math.inf)])


def plain_norms(x: Any) -> Any:
    size = x.asnumpy()
    found = [np.linalg.norm(size, order, -1) for order in (1, 0, math.inf)]
    cube = (np.abs(size) ** 3).sum(-1) ** (1 / 3)
    return ops.norm(x, dim=-1, keepdim=True), *[mindspore.Tensor(item) for item in (cube, *found)]


def mint_arguments(x: Any) -> Any:
    return mint.argmax(x, 1), mint.argmax(x, 1, True), mint.argmax(x[:1]), mint.argmin(x, -1)


def plain_arguments(x: Any) -> Any:
    return ops.argmax(x, 1), ops.argmax(x, 1, True), ops.argmax(x[:1]), ops.argmin(x, -1)


@pytest.mark.parametrize(
    ("function", "expected", "outputs"),
    [(mint_statistics, statistics, 3), (mint_arguments, plain_arguments, 4)],
)
def test_reductions_that_mindspore_has_no_kernel_of_on_a_cpu(
    function: Callable[[Any], Any], expected: Callable[[Any], Any], outputs: int
) -> None:
    assert_same(function, (4, 6), outputs=outputs, like=expected)


def test_vector_norms_of_any_order() -> None:
    assert_same(mint_norms, (4, 6), outputs=5, like=plain_norms)


@pytest.mark.parametrize("p", [2.0, 1.0, 3.0, math.inf])
def test_distances_between_rows(p: float) -> None:
    prototypes = Tensor(np.random.default_rng(2).normal(0, 1, (1, 5, 6)).astype(np.float32))

    def distances(x: Any) -> Any:
        return ops.cdist(x, prototypes.broadcast_to((x.shape[0], 5, 6)), p)

    assert_same(distances, (4, 6))
