"""A metric of the user."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

from amctq.errors import InputError, UsageError
from amctq.inference.metrics.choose import named_metric
from amctq.inference.metrics.score import Score

OUTPUTS = np.arange(12, dtype=np.float32).reshape(6, 2)
TARGETS = np.asarray([0, 1, 0, 1, 0, 1])
METRICS = """
    import numpy as np

    def mean(outputs, targets):
        return outputs.mean() + targets.mean()

    def each(outputs, targets):
        scores = outputs[:, 0]
        return scores.mean(), list(scores)

    def pair(outputs, targets):
        first, second = outputs
        return float((first == second).mean())

    class Batches:
        def __init__(self):
            self.sum = self.samples = 0
        def update(self, outputs, targets):
            self.sum += outputs.sum() / 2 + targets.sum()
            self.samples += len(targets)
        def compute(self):
            return self.sum / self.samples

    def raises(outputs, targets): raise KeyError("boxes")
    def nothing(outputs, targets): return None
    def nan(outputs, targets): return float("nan")
    def text(outputs, targets): return "good"
    def too_few(outputs, targets): return 1.0, [1.0]
    def other_mean(outputs, targets): return 1.0, [0.0] * len(targets)
    def one_argument(outputs): return 1.0
    class Half:
        def update(self, outputs, targets): pass
"""


@pytest.fixture(autouse=True)
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("metrics.py").write_text(textwrap.dedent(METRICS))


def _score(name: str, *, outputs: int = 1) -> Score:
    scoring = named_metric(f"metrics.py:{name}").start()
    for part in (slice(0, 4), slice(4, 6)):
        scoring.add((OUTPUTS[part],) * outputs, TARGETS[part])
    return scoring.finish()


def test_a_function_sees_all_batches_at_once() -> None:
    score = _score("mean")
    assert (score.metric.key, score.value, score.samples, score.per_sample) == ("mean", 6, 6, None)


def test_scores_of_samples_give_an_interval() -> None:
    score = _score("each")
    assert score.per_sample is not None
    np.testing.assert_array_equal(score.per_sample, OUTPUTS[:, 0])
    assert score.value == 5


def test_a_network_of_two_outputs_gives_a_tuple() -> None:
    assert _score("pair", outputs=2).value == 1


def test_a_class_sees_batch_by_batch() -> None:
    assert _score("Batches").value == _score("mean").value
    assert _score("Batches").value == _score("mean").value, "each pass has its own"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raises", "KeyError"),
        ("nothing", "expected a number"),
        ("nan", "finite"),
        ("text", "expected a number"),
        ("too_few", "(1,) for 6 samples"),
        ("other_mean", "the mean of its scores is 0"),
        ("one_argument", "TypeError"),
        ("Half", "no compute"),
        ("absent", "no function absent"),
    ],
)
def test_what_is_no_metric_is_refused(name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        _score(name)
    assert said in caught.value.message
    assert name in caught.value.message
    assert caught.value.hint


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="psnr"):
        named_metric("accuracy")
    assert named_metric("MIOU").name.key == "miou"
