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
    from fractions import Fraction
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
    def nan_of_a_sample(outputs, targets): return 0.5, [0.5, float("nan"), 0.5, 0.5, 0.5, 0.5]
    def number_as_text(outputs, targets): return "0.5"
    def truth(outputs, targets): return True
    def truth_of_numpy(outputs, targets): return np.True_
    def scores_as_text(outputs, targets): return 1.0, ["1"] * len(targets)
    def of_400_digits(outputs, targets): return -(10**400)
    def of_5000_digits(outputs, targets): return 10**5000
    def scores_of_400_digits(outputs, targets): return 1.0, [10**400] * len(targets)
    def beyond_float32(outputs, targets): return 1e300
    def tiny_and_other_mean(outputs, targets): return 2e-9, [1e-9] * len(targets)
    def hits(outputs, targets): return 0.5, targets == 1
    def fraction(outputs, targets): return Fraction(1, 4)
    def one_of_an_array(outputs, targets): return np.asarray([0.25])
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
        ("nan", "gives nan, expected a finite number"),
        ("nan_of_a_sample", "gives nan as the score of sample 1, expected a finite number"),
        ("number_as_text", "gives str '0.5', expected a number"),
        ("truth", "gives bool True, expected a number"),
        ("truth_of_numpy", "expected a number"),
        ("scores_as_text", "gives scores list"),
        ("of_400_digits", "gives -inf, expected a finite number"),
        ("of_5000_digits", "gives inf, expected a finite number"),
        ("scores_of_400_digits", "gives inf as the score of sample 0"),
        ("beyond_float32", "gives 1e+300, expected a finite number of at most 3.4e+38"),
        ("tiny_and_other_mean", "the mean of its scores is 1e-09"),
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


@pytest.mark.parametrize(("name", "value"), [("hits", 0.5), ("fraction", 0.25), ("one_of_an_array", 0.25)])
def test_what_is_a_number_is_taken(name: str, value: float) -> None:
    assert _score(name).value == value


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UsageError, match="psnr"):
        named_metric("accuracy")
    assert named_metric("MIOU").name.key == "miou"
