"""What an interrupted ``--auto`` keeps, and what is no state of the same network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amctq.errors import InputError, Terminated
from amctq.services.fallback.search import Choice
from amctq.services.fallback.tries import TRIES, Measured, TriesFile

IDENTITY = {"network": ["abc"]}
NAMES = ("conv1", "fc")


def _stopped(folder: Path) -> Terminated:
    """A run that is terminated after one try."""
    with pytest.raises(Terminated) as stopped, TriesFile(path=folder / TRIES, resume=False) as tries:
        tries.begin(IDENTITY, NAMES)
        tries.rank({"conv1": 0.5, "fc": 0.25})
        tries.add(Choice(wider=frozenset({"fc"}), in_float=frozenset()), Measured(drop=1.0, interval=(0.5, 1.5)))
        raise Terminated
    return stopped.value


def test_a_stopped_run_says_what_it_has_kept(tmp_path: Path) -> None:
    left = _stopped(tmp_path).left
    assert str(tmp_path / TRIES) in left
    assert "--resume" in left
    with TriesFile(path=tmp_path / TRIES, resume=True) as tries:
        assert tries.begin(IDENTITY, NAMES) == 1
    assert not (tmp_path / TRIES).exists()


def test_before_the_first_try_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(Terminated) as stopped, TriesFile(path=tmp_path / TRIES, resume=False) as tries:
        tries.begin(IDENTITY, NAMES)
        raise Terminated
    assert stopped.value.left == Terminated.left


@pytest.mark.parametrize(
    "damage",
    [
        {"costs": {"conv1": 0.5, "nolayer": 1}},
        {"costs": {"conv1": 0.5}},
        {"costs": [1]},
        {"tries": [{"wider": ["nolayer"], "in_float": [], "drop": 1, "interval": None}]},
        {"tries": [{"wider": [], "in_float": ["nolayer"], "drop": 1, "interval": None}]},
        {"tries": [{"wider": [], "in_float": [], "drop": 1}]},
        {"tries": None},
    ],
)
def test_what_is_no_state_of_the_network_is_refused_and_kept(tmp_path: Path, damage: dict[str, Any]) -> None:
    _stopped(tmp_path)
    state = tmp_path / TRIES
    state.write_text(json.dumps(json.loads(state.read_text()) | damage))
    with (
        pytest.raises(InputError, match="is damaged"),
        TriesFile(path=state, resume=True) as tries,
    ):
        tries.begin(IDENTITY, NAMES)
    assert state.exists()
