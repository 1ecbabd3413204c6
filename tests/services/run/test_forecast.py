"""The time that a run will take, guessed and then learned."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from amctq.progress import Notice, Reporter
from amctq.services.run.forecast import Expected, Forecast, seconds_of

PLAN = (
    Expected(phases=("float accuracy",), units=1000, seconds=0.01, engine="onnxruntime"),
    Expected(phases=("calibration",), units=100, seconds=0.02, engine="onnxruntime"),
    Expected(phases=("simulation", "float arithmetic"), units=200, seconds=0.05, engine="MindSpore"),
)


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("amctq.progress.time.perf_counter", clock)
    monkeypatch.setattr("amctq.services.run.forecast.time.monotonic", clock)
    return clock


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def reporter(lines: list[str]) -> Reporter:
    return Reporter(lambda event: lines.append(event.text) if isinstance(event, Notice) else None)


def _run(reporter: Reporter, clock: Clock, phase: str, units: int, batch: int, each: Callable[[int], float]) -> None:
    with reporter.phase(phase, units) as advance:
        for done in range(batch, units + 1, batch):
            clock.now += batch * each(done)
            advance(done)


def test_a_guess_that_holds_is_said_once(reporter: Reporter, clock: Clock, lines: list[str]) -> None:
    Forecast(reporter=reporter, expected=PLAN).begin("1,000 images")
    _run(reporter, clock, "float accuracy", 1000, 50, lambda _: 0.011)
    _run(reporter, clock, "calibration", 100, 50, lambda _: 0.02)
    _run(reporter, clock, "simulation", 200, 50, lambda _: 0.05)
    assert lines == ["about 22 s to go: 1,000 images"]
    assert seconds_of(PLAN) == 22


def test_the_first_batches_correct_it(reporter: Reporter, clock: Clock, lines: list[str]) -> None:
    """Behind a first batch that compiles: a fifth of the time, for the calibration in the same engine too."""
    Forecast(reporter=reporter, expected=PLAN).begin()
    _run(reporter, clock, "float accuracy", 1000, 50, lambda done: 0.1 if done == 50 else 0.002)
    # 650 × 0.002, 100 × 0.004, and the simulation of which nothing is known yet
    assert lines == ["about 22 s to go", "about 12 s to go, by the first 350 of float accuracy"]


@pytest.mark.parametrize("phase", ["simulation", "float arithmetic"])
def test_a_phase_that_takes_longer_is_said_when_it_is_known(
    phase: str, reporter: Reporter, clock: Clock, lines: list[str]
) -> None:
    Forecast(reporter=reporter, expected=PLAN).begin()
    _run(reporter, clock, "float accuracy", 1000, 100, lambda _: 0.01)
    _run(reporter, clock, "calibration", 100, 50, lambda _: 0.02)
    _run(reporter, clock, phase, 200, 20, lambda _: 0.2)
    assert lines == ["about 22 s to go", f"about 32 s to go, by the first 40 of {phase}"]


def test_epochs_are_parts_of_one_phase(reporter: Reporter, clock: Clock, lines: list[str]) -> None:
    plan = (
        Expected(phases=("training",), units=60, seconds=1.0),
        Expected(phases=("evaluation",), units=300, seconds=0.01),
    )
    told = Forecast(reporter=reporter, expected=plan)
    told.begin()
    for epoch in range(3):
        with reporter.phase("training", 60, "steps", done=20 * epoch) as advance:
            for step in range(20 * epoch, 20 * epoch + 20):
                clock.now += 3.0
                advance(step + 1)
        _run(reporter, clock, "evaluation", 100, 50, lambda _: 0.01)
        assert told.seconds_left == pytest.approx((2 - epoch) * (20 * 3.0 + 1.0))
    assert lines == ["about 63 s to go", "about 3 min to go, by the first 2 of training"]


def test_other_phases_and_no_work_change_nothing(reporter: Reporter, clock: Clock, lines: list[str]) -> None:
    Forecast(reporter=reporter, expected=()).begin()
    _run(reporter, clock, "export", 10, 1, lambda _: 5.0)
    assert lines == ["about 1 s to go"]
