"""What stops a run: a network that guesses, and files that name other classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.inference.accuracy import LabelRanks
from amctq.inference.agreement import Agreement
from amctq.inference.proof import ForwardProof
from amctq.services.run.accuracy import ComparedFile
from amctq.services.run.checks import file_checks, refuse_chance, run_checks
from amctq.services.run.simulation import Simulation


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
    file = ComparedFile(name="a_deploy.onnx", images=images, argmax_differences=differences, ties=0, ranks=None)
    (check,) = file_checks([file])
    assert check.passed == passed
    assert replace(file, argmax_differences=0).percent == 100


@pytest.mark.parametrize(
    ("differences", "changed", "passed"), [(1, None, True), (3, None, False), (3, 2, False), (3, 5, True)]
)
def test_a_network_may_differ_as_far_as_quantization_changes_it(
    differences: int, changed: int | None, passed: bool
) -> None:
    def agreement(differing: int) -> Agreement:
        return Agreement(
            images=32, argmax_differences=differing, ties=0, max_difference=0.01, mean_difference=0.001, top1=50.0
        )

    simulation = Simulation(
        through="float arithmetic",
        exported=False,
        agreement=agreement(differences),
        noise=None if changed is None else agreement(changed),
    )
    proof = ForwardProof(images=2, max_difference=1e-6, argmax_differences=0)
    checks = run_checks(proof, None, simulation, np.zeros((4, 10), np.float32), None)
    (check,) = [check for check in checks if "float arithmetic" in check.name]
    assert check.passed == passed
