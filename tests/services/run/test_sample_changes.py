"""Which samples and classes lose, on outcomes whose every sample is known."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from amctq.data.arrays import open_npz
from amctq.data.preprocess import CIFAR10_224
from amctq.data.samples import Samples
from amctq.inference.metrics.mean_score import MAE, MeanScore
from amctq.inference.metrics.measure import Outcome
from amctq.inference.metrics.top1 import LabelRanks, label_margins, rank_labels
from amctq.services.run.sample_changes import sample_changes

LABELS = np.asarray([0, 0, 1, 1, 2])
BEFORE = np.asarray([[9, 0, 0], [5, 4, 0], [0, 3, 0], [2, 1, 0], [0, 0, 1]], np.float32)
# The second is lost to class 1, the fourth is gained, the first keeps its class and loses most margin.
AFTER = np.asarray([[4, 0, 0], [4, 5, 0], [0, 3, 0], [1, 2, 0], [0, 0, 1]], np.float32)


def _samples() -> Samples:
    images = np.arange(5 * 3 * 32 * 32, dtype=np.uint32).reshape(5, 32, 32, 3).astype(np.uint8)
    np.savez("data.npz", x_test=images, y_test=LABELS)
    test = open_npz(Path("data.npz"), CIFAR10_224.changed(image_size=32)).test
    assert test is not None
    return test


def _outcome(logits: NDArray[np.float32]) -> Outcome:
    ranks = LabelRanks(rank_labels(logits, LABELS), 3, labels=LABELS, margins=label_margins(logits, LABELS))
    return Outcome(score=ranks, predicted=logits.argmax(axis=1))


def test_classes_and_worst_samples() -> None:
    found = sample_changes(_outcome(BEFORE), _outcome(AFTER), _samples())
    assert found.classes is not None
    assert found.classes["per_class"] == [
        {"class": 0, "name": None, "samples": 2, "float": 2, "quantized": 1},
        {"class": 1, "name": None, "samples": 2, "float": 1, "quantized": 2},
        {"class": 2, "name": None, "samples": 1, "float": 1, "quantized": 1},
    ]
    assert found.classes["changed"] == 2
    assert found.classes["changes"] == [
        {"target": 0, "float": 0, "quantized": 1, "samples": 1},
        {"target": 1, "float": 0, "quantized": 1, "samples": 1},
    ]
    # What was lost comes first; what did not lose is not there.
    assert [row["index"] for row in found.worst] == [1, 0]
    assert (found.worst[0]["float_margin"], found.worst[0]["quantized_margin"]) == (1.0, -1.0)


def test_a_thumbnail_shows_the_image() -> None:
    samples = _samples()
    found = sample_changes(_outcome(BEFORE), _outcome(AFTER), samples)
    head, content = found.worst[0]["thumbnail"].split(",")
    assert head == "data:image/png;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    with np.load("data.npz") as stored:
        assert np.array_equal(picture, stored["x_test"][1])


def test_one_network_alone() -> None:
    found = sample_changes(None, _outcome(BEFORE), _samples())
    assert found.classes is not None
    assert found.classes["per_class"][1] == {"class": 1, "name": None, "samples": 2, "quantized": 1}
    assert found.classes["changes"] == [{"target": 1, "quantized": 0, "samples": 1}]
    assert found.worst[0]["index"] == 3


def test_scores_without_classes() -> None:
    before, after = (
        Outcome(score=MeanScore(metric=MAE, scores=np.asarray(scores)), predicted=None)
        for scores in ([1.0, 2.0, 1.0, 1.0, 1.0], [1.0, 2.5, 3.0, 0.5, 1.0])
    )
    found = sample_changes(before, after, _samples())
    assert found.classes is None
    assert [row["index"] for row in found.worst] == [2, 1]  # a higher error is worse
    assert (found.worst[0]["float_score"], found.worst[0]["quantized_score"]) == (1.0, 3.0)
