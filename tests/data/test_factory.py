"""A dataset from a function of the user: how often it is called, and what it must give each time."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

from amctq.data.factory import open_factory
from amctq.data.samples import Samples
from amctq.errors import InputError

FUNCTIONS = """
    import pathlib
    import numpy as np

    ITEMS = [(np.full((3, 8, 8), index, np.float32), index % 2) for index in range(10)]

    def called():
        with pathlib.Path("calls").open("a") as file:
            file.write("x")

    def listed(role):
        called()
        return ITEMS

    def generated(role):
        called()
        yield from ITEMS

    def fewer_in_epoch_1(role, epoch=None):
        return ITEMS[:8] if epoch == 1 else ITEMS

    def fewer_each_time(role, _given=[11]):
        _given[0] -= 1
        return ITEMS[:_given[0]]
"""


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(textwrap.dedent(FUNCTIONS))


def _train(name: str) -> Samples:
    samples = open_factory(f"{Path.cwd()}/own.py:{name}").train
    assert samples is not None
    return samples


@pytest.mark.parametrize(("name", "calls"), [("listed", 2), ("generated", 4)])
def test_a_list_is_kept_and_a_generator_read_again(name: str, calls: int) -> None:
    samples = _train(name)
    before = len(Path("calls").read_text()) - 1  # of both roles
    for part in (samples, samples.take(np.asarray([2, 5])), samples):
        assert len(list(part.batches(4))) == -(-len(part) // 4)
    assert len(Path("calls").read_text()) - before == calls


def test_an_epoch_of_fewer_samples_is_refused() -> None:
    samples = _train("fewer_in_epoch_1")
    assert samples.chosen(np.asarray([9]), epoch=0)[1].tolist() == [1]
    with pytest.raises(InputError, match="it gives 8 samples in epoch 1, 10 before"):
        samples.chosen(np.asarray([0]), epoch=1)


def test_a_list_of_fewer_samples_is_refused() -> None:
    samples = _train("fewer_each_time")
    with pytest.raises(InputError, match="samples this time, 10 before"):
        next(samples.batches(4))
