"""The training step against the same formulas in NumPy, on a network that is small enough for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from amctq.training.recipe import Distillation, Recipe, RecipeOptions, resolve_recipe
from tests.arrays import image

IMAGES, CLASSES = 6, 3
NOTHING = np.zeros(1, np.float32)  # what nobody teaches


@pytest.fixture(autouse=True)
def _graph_mode() -> Iterator[None]:
    import mindspore

    before = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    yield
    mindspore.set_context(mode=before)


def _network(*, norm: bool = False) -> Any:
    from tests.training.networks import Linear, Normed

    network = Normed(CLASSES) if norm else Linear(CLASSES)
    random = np.random.default_rng(5)
    import mindspore

    for parameter in network.get_parameters():
        parameter.set_data(mindspore.Tensor(random.random(parameter.shape).astype(np.float32) + 0.1))
    return network


def _recipe(**more: object) -> Recipe:
    own = {"distill": False, **more}
    return resolve_recipe(RecipeOptions(max_steps=9, **own), images=100, batch_size=IMAGES)  # type: ignore[arg-type]


def _batch(seed: int) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    return random.normal(size=(IMAGES, 2, 1, 1)).astype(np.float32), random.integers(0, CLASSES, IMAGES)


def _run(network: Any, recipe: Recipe, steps: int, *, freeze_at: int | None = None) -> tuple[list[float], Any]:
    from amctq.training.loss import usual_loss
    from amctq.training.step import TrainingStep, zero_moments

    step = TrainingStep(network, recipe, usual_loss(), zero_moments(network))
    step.set_train(True)
    losses = []
    for index in range(steps):
        if index == freeze_at:
            step.freeze_statistics()
        images, labels = _batch(index)
        taught = _taught(index) if recipe.distillation else NOTHING
        own, mean, stop = _step(step, images, labels, taught, stop=index % 2)
        assert (mean, stop) == (own, index % 2)
        losses.append(float(own))
    return losses, step


def _step(step: Any, images: Any, labels: Any, taught: Any = NOTHING, *, stop: int = 0) -> Any:
    """One step of a network with one input and one output: its own loss, the mean, and who wants to stop."""
    from amctq.training.step import step_arguments

    return step(*step_arguments(image(images), labels, (taught,), np.float32(0.1), np.float32(stop))).asnumpy()


def _taught(index: int) -> Any:
    return np.random.default_rng(100 + index).normal(size=(IMAGES, CLASSES)).astype(np.float32)


def _softmax(logits: Any) -> Any:
    exps = np.exp(logits - logits.max(1, keepdims=True))
    return exps / exps.sum(1, keepdims=True)


def _numpy_run(weight: Any, bias: Any, recipe: Recipe, steps: int) -> tuple[list[float], Any, Any]:
    """Momentum with weight decay on the weight alone, in float64."""
    speeds = [np.zeros_like(weight), np.zeros_like(bias)]
    losses = []
    teaching = recipe.distillation
    part = 0.0 if teaching is None else teaching.weight
    for index in range(steps):
        images, labels = _batch(index)
        x = images.reshape(IMAGES, 2).astype(np.float64)
        logits = x @ weight.T + bias
        right = np.eye(CLASSES)[labels]
        probabilities = _softmax(logits)
        loss = -(right * np.log(probabilities)).sum(1).mean()
        gradient = (probabilities - right) / IMAGES
        if teaching is not None:
            hot = teaching.temperature
            wanted, own = _softmax(_taught(index).astype(np.float64) / hot), _softmax(logits / hot)
            divergence = (wanted * (np.log(wanted) - np.log(own))).sum(1).mean() * hot**2
            loss = (1 - part) * loss + part * divergence
            gradient = (1 - part) * gradient + part * hot * (own - wanted) / IMAGES
        losses.append(loss)
        gradients = [gradient.T @ x + recipe.weight_decay * weight, gradient.sum(0)]
        speeds = [recipe.momentum * speed + own for speed, own in zip(speeds, gradients, strict=True)]
        weight, bias = weight - 0.1 * speeds[0], bias - 0.1 * speeds[1]
    return losses, weight, bias


@pytest.mark.parametrize(
    "more",
    [{}, {"distill": True, "distillation": Distillation(temperature=3.0, weight=0.7)}],
    ids=["labels", "labels-and-teacher"],
)
def test_a_step_is_momentum_with_decay_on_weights_alone(more: dict[str, Any]) -> None:
    recipe = _recipe(**more, weight_decay=0.05)
    network = _network()
    weight, bias = (item.asnumpy().astype(np.float64) for item in network.trainable_params())
    losses, _ = _run(network, recipe, 4)
    expected, weight, bias = _numpy_run(weight, bias, recipe, 4)
    np.testing.assert_allclose(losses, expected, rtol=5e-5)
    found = [item.asnumpy() for item in network.trainable_params()]
    np.testing.assert_allclose(found[0], weight, rtol=5e-5)
    np.testing.assert_allclose(found[1], bias, rtol=5e-5)


@pytest.mark.parametrize("distill", [False, True])
def test_the_graph_is_compiled_once_for_all_steps(distill: bool) -> None:
    _, step = _run(_network(), _recipe(distill=distill), 4)
    assert len(step.compile_cache) == 1


def test_the_loss_scale_changes_no_bit_of_float32() -> None:
    networks = [_network(), _network()]
    losses = [_run(item, _recipe(loss_scale=scale), 3)[0] for item, scale in zip(networks, (1.0, 1024.0), strict=True)]
    assert losses[0] == losses[1]
    for one, other in zip(*(item.get_parameters() for item in networks), strict=True):
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())


def test_frozen_statistics_stay_and_the_rest_learns_on() -> None:
    network = _network(norm=True)
    _, step = _run(network, _recipe(), 2, freeze_at=None)
    statistics = network.norm.moving_mean.asnumpy().copy()
    gamma = network.norm.gamma.asnumpy().copy()
    step.freeze_statistics()
    for _ in range(2):
        _step(step, *_batch(7))
    np.testing.assert_array_equal(network.norm.moving_mean.asnumpy(), statistics)
    assert not np.array_equal(network.norm.gamma.asnumpy(), gamma)


def test_devices_go_on_with_the_means_of_gradients_and_statistics() -> None:
    """As beside a device that has nothing but zeros."""
    from amctq.training.loss import usual_loss
    from amctq.training.step import TrainingStep, zero_moments
    from tests.training.networks import Halved

    moved, told, statistics = [], [], []
    for mean in (None, Halved()):
        network = _network(norm=True)
        before = network.dense.bias.asnumpy().copy()
        step = TrainingStep(network, _recipe(), usual_loss(), zero_moments(network), mean)
        step.set_train(True)
        told.append(_step(step, *_batch(0), stop=1))
        moved.append(network.dense.bias.asnumpy() - before)
        statistics.append(network.norm.moving_variance.asnumpy().copy())
    np.testing.assert_allclose(moved[1], moved[0] / 2, rtol=1e-5)
    np.testing.assert_allclose(told[1], told[0] * [1, 0.5, 0.5], rtol=1e-5)
    # Of the statistics as the step has left them, not of those that it found.
    assert not np.array_equal(statistics[0], np.ones_like(statistics[0]))
    np.testing.assert_allclose(statistics[1], statistics[0] / 2, rtol=1e-5)


def test_which_parameters_decay() -> None:
    from amctq.training.step import is_decayed

    assert is_decayed("layer1.0.conv1.weight")
    for name in ("bn1.gamma", "bn1.beta", "end_point.bias", "conv1.clip_max", "layer1.0.conv1.clip_min"):
        assert not is_decayed(name)


def test_half_precision_is_float16_but_for_batch_norm_and_parameters() -> None:
    """What an NPU trains in, as far as a CPU can show it."""
    import mindspore

    from amctq.backends.ascend import use_half_precision

    network = _network(norm=True)
    full, _ = _run(_network(norm=True), _recipe(), 3)
    use_half_precision(network)
    network.set_train(False)
    assert network(mindspore.Tensor(_batch(0)[0])).dtype == mindspore.float16
    assert network.norm.get_flags()["fp32"]
    half, _ = _run(network, _recipe(), 3)
    np.testing.assert_allclose(half, full, rtol=5e-3)
    assert {parameter.dtype for parameter in network.get_parameters()} == {mindspore.float32}
