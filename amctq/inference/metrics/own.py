"""A metric of the user: a function of all outputs and targets, or a class that sees them batch by batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.errors import InputError, Stopped, UsageError
from amctq.inference.metrics.mean_score import MeanScore
from amctq.inference.metrics.score import LARGEST, Metric, MetricName, Score, Scoring
from amctq.inference.session import Outputs
from amctq.plugins import USER_CODE_FAILURES, factory_name, format_error, load_factory

_OPTION = "--metric"
_HINT = "return a number, higher is better, or a pair of it and a list with a score for each sample"
# Fields beside the value: of `evaluate`, of the comparison of files, of what `ptq` and `qat` measure, of the history.
TAKEN_NAMES = (
    *("metric", "images"),
    *("argmax_differences", "ties", "percent", "mean_difference"),
    *("file", "float", "ptq", "training_network", "int8", "agreement"),
    *("step", "epoch", "loss", "learning_rate"),
)
# NumPy's kinds. Objects are whole numbers beyond 64 bits, fractions and the like; a hit may be a truth value.
_OF_A_VALUE, _OF_SCORES = "iufO", "biufO"


class PlainScore(Score):
    """A value without scores of samples."""

    def __init__(self, metric: MetricName, value: float, samples: int) -> None:
        self.metric, self.samples, self._value = metric, samples, value

    @property
    def value(self) -> float:
        """The value."""
        return self._value


class OwnMetric(Metric):
    """A function of the user, ``path/to/file.py:name``.

    A function gets all outputs and all targets: an array (a tuple of arrays for a network of several outputs), and an
    array or list. A class is made anew for each pass, without arguments; its ``update(outputs, targets)`` sees each
    batch, and ``compute()`` gives the result. The result is a number, higher is better, or a pair of it and a score for
    each sample.

    Args:
        text: names the function.

    Raises:
        UsageError: reports have a field of that name.
        InputError: there is no such function.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        name = factory_name(text)
        if name in TAKEN_NAMES:
            message = f"{_OPTION} {text}: its value stands under its name in reports, where {name} is another field"
            raise UsageError(message, hint=f"call it anything but {', '.join(TAKEN_NAMES)}")
        self._function: Any = load_factory(text, option=_OPTION)
        self.name = MetricName(key=name, title=name)

    def start(self) -> Scoring:
        """Begin a pass."""
        if inspect.isclass(self._function):
            return _ByBatch(self.name, self._text, self._function)
        return _Whole(self.name, self._text, self._function)


class _Own(Scoring):
    def __init__(self, name: MetricName, text: str) -> None:
        self._name, self._text, self._samples = name, text, 0

    def _called(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (InputError, Stopped):
            raise
        except USER_CODE_FAILURES as error:
            message = f"{_OPTION} {self._text} raised {format_error(error)}"
            raise InputError(message, hint="run it by itself, and correct it") from error

    def _score(self, result: Any) -> Score:
        value, scores = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        numbers = _numbers(value, _OF_A_VALUE)
        if numbers is None or numbers.size != 1:
            message = f"{_OPTION} {self._text} gives {type(value).__name__} {value!r:.60}, expected a number"
            raise InputError(message, hint=_HINT)
        self._refuse_unbounded(numbers.ravel(), lambda _: "")
        number = float(numbers.item())
        if scores is None:
            return PlainScore(self._name, number, self._samples)
        each = _numbers(scores, _OF_SCORES)
        if each is None:
            message = f"{_OPTION} {self._text} gives scores {type(scores).__name__} {scores!r:.60}, expected numbers"
            raise InputError(message, hint=_HINT)
        if each.shape != (self._samples,):
            message = f"{_OPTION} {self._text} gives scores {each.shape} for {self._samples:,} samples"
            raise InputError(message, hint=_HINT)
        self._refuse_unbounded(each, lambda place: f" as the score of sample {place}")
        if not math.isclose(float(each.mean()), number, rel_tol=1e-3, abs_tol=1e-6 * float(np.abs(each).max())):
            message = f"{_OPTION} {self._text} gives {number:g}, and the mean of its scores is {each.mean():g}"
            raise InputError(message, hint="the value must be the mean of the scores; leave them out where it is not")
        return MeanScore(metric=self._name, scores=each)

    def _refuse_unbounded(self, numbers: NDArray[np.float64], named: Callable[[int], str]) -> None:
        wrong = ~(np.abs(numbers) <= LARGEST)
        if wrong.any():
            place = int(wrong.argmax())
            found = f"{numbers[place]:g}{named(place)}"
            message = f"{_OPTION} {self._text} gives {found}, expected a finite number of at most {LARGEST:.2g}"
            raise InputError(message, hint="let it leave out what cannot be measured")


class _Whole(_Own):
    def __init__(self, name: MetricName, text: str, function: Callable[..., Any]) -> None:
        super().__init__(name, text)
        self._function = function
        self._outputs: list[Outputs] = []
        self._targets: list[Targets] = []

    def add(self, outputs: Outputs, targets: Targets) -> None:
        self._samples += len(outputs[0])
        self._outputs.append(outputs)
        self._targets.append(targets)

    def finish(self) -> Score:
        outputs = tuple(np.concatenate(parts) for parts in zip(*self._outputs, strict=True))
        return self._score(self._called(self._function, _plain(outputs), _joined(self._targets)))


class _ByBatch(_Own):
    def __init__(self, name: MetricName, text: str, kind: Callable[[], Any]) -> None:
        super().__init__(name, text)
        self._metric = self._called(kind)
        missing = [each for each in ("update", "compute") if not callable(getattr(self._metric, each, None))]
        if missing:
            message = f"{_OPTION} {text}: the class has no {' and no '.join(missing)}"
            raise InputError(message, hint="expected update(outputs, targets) and compute()")

    def add(self, outputs: Outputs, targets: Targets) -> None:
        self._samples += len(outputs[0])
        self._called(self._metric.update, _plain(outputs), targets)

    def finish(self) -> Score:
        return self._score(self._called(self._metric.compute))


def _numbers(given: Any, kinds: str) -> NDArray[np.float64] | None:
    """What the user gives as float64, infinity where that is too small for it; None for what is no numbers."""
    try:
        array = np.asarray(given.asnumpy() if hasattr(given, "asnumpy") else given)
        return np.vectorize(_float, otypes=[np.float64])(array) if array.dtype.kind in kinds else None
    except (TypeError, ValueError):
        return None


def _float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf if number > 0 else -math.inf


def _plain(outputs: Outputs) -> Any:
    """One array for a network of one output, else a tuple."""
    return outputs[0] if len(outputs) == 1 else outputs


def _joined(targets: list[Targets]) -> Targets:
    """The targets of all batches."""
    if targets[0] is None:
        return None
    if all(isinstance(part, np.ndarray) for part in targets):
        return np.concatenate(targets)
    return [target for part in targets for target in part]
