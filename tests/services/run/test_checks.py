"""What stops a run: a network that guesses, and files that name other classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.inference.agreement import Agreement
from amctq.inference.metrics.top1 import TOP1, LabelRanks
from amctq.inference.proof import ForwardProof
from amctq.services.run.accuracy import ComparedFile
from amctq.services.run.checks import drop_check, file_checks, refuse_chance, run_checks
from amctq.services.run.simulation import Simulation


def _agreement(differing: int, *, images: int = 32) -> Agreement:
    return Agreement(
        images=images, argmax_differences=differing, ties=0, max_difference=0.01, mean_difference=0.001, top1=50.0
    )


def test_a_perfect_network_is_not_chance() -> None:
    for images, classes in ((8, 2), (1, 10), (10_000, 1000)):
        refuse_chance(LabelRanks(np.zeros(images, np.int64), classes), allow=False)


def test_a_network_that_guesses_is_refused() -> None:
    ranks = LabelRanks(np.arange(10_000) % 10, 10)
    with pytest.raises(InputError, match=r"right on 10\.00 %"):
        refuse_chance(ranks, allow=False)
    refuse_chance(ranks, allow=True)


@pytest.mark.parametrize(
    ("images", "differences", "passed"), [(10_000, 20, True), (10_000, 21, False), (100, 2, True), (100, 3, False)]
)
def test_files_must_name_the_same_classes(images: int, differences: int, passed: bool) -> None:
    agreement = _agreement(differences, images=images)
    (check,) = file_checks([ComparedFile(name="a_deploy.onnx", agreement=agreement)])
    assert check.passed == passed
    assert replace(agreement, argmax_differences=0).percent == 100


@pytest.mark.parametrize(("mean", "passed"), [(0.009, True), (0.011, False), (float("nan"), False)])
def test_files_of_a_network_without_classes_must_give_the_same_values(mean: float, passed: bool) -> None:
    agreement = replace(_agreement(0), classes=False, top1=None, mean_difference=mean)
    (check,) = file_checks([ComparedFile(name="a_deploy.onnx", agreement=agreement)])
    assert check.passed == passed
    assert check.detail == f"32 samples; mean difference {mean:.1e} of the largest value, 0.01 allowed"


@pytest.mark.parametrize(
    ("differences", "changed", "passed"), [(1, None, True), (3, None, False), (3, 2, False), (3, 5, True)]
)
def test_a_network_may_differ_as_far_as_quantization_changes_it(
    differences: int, changed: int | None, passed: bool
) -> None:
    simulation = Simulation(
        through="float arithmetic",
        exported=False,
        agreement=_agreement(differences),
        noise=None if changed is None else _agreement(changed),
    )
    proof = ForwardProof(images=2, max_difference=1e-6)
    checks = run_checks(proof, None, None, simulation, (np.zeros((4, 10), np.float32),), None)
    (check,) = [check for check in checks if "float arithmetic" in check.name]
    assert check.passed == passed


@pytest.mark.parametrize(
    ("drop", "interval", "passed"),
    [
        (0.3, None, True),
        (0.31, None, False),
        (0.6, (0.2, 1.0), True),
        (0.9, (0.4, 1.4), False),
        (0.1, (0.05, 0.15), True),
    ],
)
def test_samples_that_have_not_chosen_the_network_must_not_speak_against_it(
    drop: float, interval: tuple[float, float] | None, passed: bool
) -> None:
    """With an interval, that of --auto, the limit may lie inside it."""
    check = drop_check(drop, TOP1, 0.3, interval=interval)
    assert check.passed == passed
    assert check.detail.endswith("allowed 0.3 points")
    assert ("[" in check.detail) == (interval is not None)
