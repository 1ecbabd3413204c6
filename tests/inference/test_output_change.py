"""How a variant's outputs differ from those in float."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from amctq.errors import InputError
from amctq.inference.metrics.top1 import Top1
from amctq.inference.output_change import output_change

LOGITS = np.random.default_rng(2).normal(size=(20, 10)).astype(np.float32)
NOISE = np.random.default_rng(3).normal(0, 0.5, size=(20, 10)).astype(np.float32)
LABELS = LOGITS.argmax(axis=1)


def test_divergence_classes_and_noise_are_those_of_scipy() -> None:
    after = LOGITS + NOISE
    found = output_change(
        [(LOGITS[:8],), (LOGITS[8:],)], [(after[:8],), (after[8:],)], [LABELS[:8], LABELS[8:]], Top1()
    )
    assert found.kl == pytest.approx(np.mean(entropy(softmax(LOGITS, 1), softmax(after, 1), axis=1)), rel=1e-5)
    assert found.class_changes == np.mean(after.argmax(axis=1) != LABELS) > 0
    assert found.sqnr_db == pytest.approx(10 * np.log10(np.sum(LOGITS**2) / np.sum(NOISE**2)), abs=1e-3)
    assert found.score is not None
    assert found.class_changes is not None
    assert found.score.value == pytest.approx(100 * (1 - found.class_changes))


def test_probabilities_are_taken_as_they_are() -> None:
    one, other = softmax(LOGITS, 1), softmax(LOGITS + NOISE, 1)
    by_logits = output_change([(LOGITS,)], [(LOGITS + NOISE,)], [None], None)
    by_probabilities = output_change([(one,)], [(other,)], [None], None)
    assert by_probabilities.kl == pytest.approx(by_logits.kl, rel=1e-3)


def test_the_same_outputs_do_not_differ() -> None:
    found = output_change([(LOGITS,)], [(LOGITS,)], [None], None)
    assert (found.sqnr_db, found.kl, found.class_changes, found.score) == (math.inf, 0, 0, None)


def test_other_outputs_than_scores_have_no_classes() -> None:
    picture = LOGITS.reshape(5, 4, 10)
    found = output_change([(picture, LOGITS)], [(picture, LOGITS + NOISE)], [None], None)
    assert found.kl is None
    assert found.class_changes is None
    alone = output_change([(LOGITS,)], [(LOGITS + NOISE,)], [None], None)
    assert found.sqnr_db == pytest.approx(alone.sqnr_db + 10 * math.log10(2), abs=1e-6)  # half of the outputs are exact


def test_numbers_that_are_no_scores_have_no_classes() -> None:
    found = output_change([(LOGITS,)], [(LOGITS + NOISE,)], [LOGITS], None, classes=False)
    assert found.kl is None
    assert found.class_changes is None


def test_outputs_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="shape"):
        output_change([(LOGITS,)], [(LOGITS[:, :5],)], [None], None)
