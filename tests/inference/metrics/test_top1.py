"""LabelRanks, and what is measured from them."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.inference.metrics.top1 import LabelRanks, Top1, rank_labels


def test_rank_is_the_number_of_better_classes() -> None:
    logits = np.asarray([[3, 2, 1], [1, 2, 3], [1, 3, 2]], np.float32)
    assert rank_labels(logits, np.asarray([0, 0, 2])).tolist() == [0, 2, 1]


def test_ties_go_to_the_lower_index_as_argmax_does() -> None:
    logits = np.zeros((3, 4), np.float32)
    assert rank_labels(logits, np.asarray([0, 1, 3])).tolist() == [0, 1, 3]


def test_top1_is_argmax_on_random_logits() -> None:
    random = np.random.default_rng(0)
    logits = np.round(random.normal(size=(500, 10)), 1).astype(np.float32)
    labels = random.integers(0, 10, 500)
    ranks = LabelRanks(rank_labels(logits, labels), 10)
    assert ranks.top1 == pytest.approx(100 * (logits.argmax(1) == labels).mean())
    assert ranks.top5 >= ranks.top1


def test_nan_is_never_a_hit() -> None:
    logits = np.full((2, 3), np.nan, np.float32)
    assert LabelRanks(rank_labels(logits, np.asarray([0, 1])), 3).top1 == 0.0


def test_top5_of_fewer_classes_is_everything() -> None:
    logits = np.asarray([[1, 2, 3]], np.float32)
    assert LabelRanks(rank_labels(logits, np.asarray([0])), 3).top5 == 100.0


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 5, 5), (3, 5)])
def test_only_scores_of_classes_are_ranked(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="and top-1 needs"):
        Top1().start().add((np.zeros(shape, np.float32),), np.zeros(4, np.int64))


def test_a_label_beyond_the_classes_is_no_miss() -> None:
    with pytest.raises(InputError, match="has class 5, and the network has 5 classes"):
        Top1().start().add((np.zeros((2, 5), np.float32),), np.asarray([0, 5]))
