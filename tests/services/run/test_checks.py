"""What stops a run: a network that guesses, and files that name other classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.inference.accuracy import LabelRanks
from amctq.services.run.accuracy import ComparedFile
from amctq.services.run.checks import file_checks, refuse_chance


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
