"""Learning rates against the sample's formulas, written out once more step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from amctq.choices import LrDecay, RecipeName
from amctq.errors import UsageError
from amctq.training.recipe import Distillation, RecipeOptions, resolve_recipe
from amctq.training.schedules import learning_rates

INITIAL, HIGHEST, LAST = 5e-4, 0.1, 1e-5


def _formula(decay: LrDecay, i: int, total: int, w: int) -> float:
    if i < w:
        return INITIAL + (HIGHEST - INITIAL) * i / w
    if decay is LrDecay.POLY:
        return HIGHEST * (1 - (i - w) / (total - w)) ** 2
    if decay is LrDecay.STEPS:
        tenths = 0 if i < 0.3 * total else 1 if i < 0.6 * total else 2 if i < 0.8 * total else 3
        return HIGHEST * 10.0**-tenths
    if decay is LrDecay.COSINE:
        return HIGHEST * ((total - i) / (total - w) * 0.5 * (1 + math.cos(math.pi * 2 * 0.47 * i / (total - w))) + 1e-5)
    return HIGHEST + (LAST - HIGHEST) * (i - w) / (total - w)


@pytest.mark.parametrize("decay", LrDecay)
@pytest.mark.parametrize(("steps", "warmup"), [(300, 50), (10, 0), (1, 0), (2, 1), (777, 776)])
def test_rates_are_the_formulas(decay: LrDecay, steps: int, warmup: int) -> None:
    rates = learning_rates(decay, initial=INITIAL, highest=HIGHEST, last=LAST, steps=steps, warmup_steps=warmup)
    expected = [_formula(decay, i, steps, warmup) for i in range(steps)]
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, expected, rtol=2e-7, atol=1e-12)


@pytest.mark.parametrize("decay", LrDecay)
def test_rates_climb_to_the_highest_and_never_rise_again(decay: LrDecay) -> None:
    rates = learning_rates(decay, initial=INITIAL, highest=HIGHEST, last=LAST, steps=1000, warmup_steps=50)
    assert (np.diff(rates[:50]) > 0).all()
    assert rates[0] == np.float32(INITIAL)
    assert rates.max() <= np.float32(HIGHEST * (1 + 1e-5))
    assert (np.diff(rates[50:]) <= 0).all()
    assert (rates > 0).all()


def test_the_sample_is_the_default() -> None:
    recipe = resolve_recipe(RecipeOptions(), images=50_000, batch_size=32)
    assert (recipe.name, recipe.lr_decay) == (RecipeName.SAMPLE, LrDecay.POLY)
    assert (recipe.epochs, recipe.steps_per_epoch, recipe.warmup_steps) == (30, 1562, 5 * 1562)
    assert (recipe.lr_init, recipe.lr_max, recipe.lr_end) == (5e-4, 0.1, 1e-5)
    assert (recipe.momentum, recipe.weight_decay, recipe.loss_scale) == (0.9, 1e-4, 1024)
    assert recipe.learning_rates().shape == (30 * 1562,)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (RecipeOptions(epochs=9), RecipeName.FINETUNE),
        (RecipeOptions(epochs=10), RecipeName.SAMPLE),
        (RecipeOptions(max_steps=999), RecipeName.FINETUNE),
        (RecipeOptions(max_steps=1000), RecipeName.SAMPLE),
        (RecipeOptions(epochs=9, recipe=RecipeName.SAMPLE), RecipeName.SAMPLE),
        (RecipeOptions(epochs=40, recipe=RecipeName.FINETUNE), RecipeName.FINETUNE),
    ],
)
def test_a_short_run_is_gentle(options: RecipeOptions, name: RecipeName) -> None:
    recipe = resolve_recipe(options, images=3200, batch_size=32)
    assert recipe.name is name
    if name is RecipeName.FINETUNE:
        assert (recipe.lr_max, recipe.lr_decay) == (1e-3, LrDecay.COSINE)
        assert recipe.distillation == Distillation(temperature=4.0, weight=0.9)
        assert recipe.warmup_steps <= 0.05 * recipe.steps
    else:
        assert (recipe.lr_max, recipe.lr_decay, recipe.warmup_steps) == (0.1, LrDecay.POLY, 500)
        assert recipe.distillation is None


def test_what_is_said_wins_over_the_recipe() -> None:
    options = RecipeOptions(epochs=3, lr_max=1e-4, lr_decay=LrDecay.LINEAR, warmup_epochs=0.5, freeze_bn_after=1)
    recipe = resolve_recipe(options, images=320, batch_size=32)
    assert (recipe.lr_max, recipe.lr_decay, recipe.warmup_steps, recipe.freeze_bn_step) == (1e-4, LrDecay.LINEAR, 5, 10)
    assert recipe.lr_init == 1e-4, "a warm-up does not start above its end"


@pytest.mark.parametrize("name", [RecipeName.SAMPLE, RecipeName.FINETUNE])
@pytest.mark.parametrize("distill", [True, False])
def test_whether_the_float_network_teaches_can_be_said(name: RecipeName, distill: bool) -> None:
    options = RecipeOptions(recipe=name, distill=distill, distillation=Distillation(weight=0.25))
    recipe = resolve_recipe(options, images=320, batch_size=32)
    assert recipe.distillation == (Distillation(temperature=4.0, weight=0.25) if distill else None)


@pytest.mark.parametrize(
    ("options", "images", "says"),
    [
        (RecipeOptions(epochs=3, warmup_epochs=3), 320, "--warmup-epochs 3: 30 steps of warm-up, and the run has 30"),
        (RecipeOptions(epochs=5, recipe=RecipeName.SAMPLE), 320, "--warmup-epochs 5"),
        (RecipeOptions(max_steps=50, recipe=RecipeName.SAMPLE), 320, "and the run has 50 steps"),
        (RecipeOptions(epochs=3, freeze_bn_after=3), 320, "--freeze-bn-after 3"),
        (RecipeOptions(), 31, "--batch-size 32: there are 31 images"),
    ],
)
def test_what_cannot_be_is_a_usage_error(options: RecipeOptions, images: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve_recipe(options, images=images, batch_size=32)
