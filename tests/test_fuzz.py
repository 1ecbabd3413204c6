"""Damaged files: every reader gives a value or says what is wrong with the file, quickly, and raises nothing else.

FUZZ_MUTATIONS sets how many damaged files each reader gets.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amctq.distributed.status import has_ended_well
from amctq.errors import AmctqError
from amctq.training import snapshot as snapshots
from amctq.training.snapshot import Snapshot, write_snapshot
from amctq.training.store import CheckpointStore
from tests.command import amctq_here
from tests.mutations import mutation_count, mutations
from tests.readers import STATE, TEXT_FILES, TextFile

COUNT = mutation_count(200)
SECONDS = 5.0
GIBIBYTES = 2.0
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "weight": np.ones((2, 3), np.float32),
    "moments.weight": np.zeros((2, 3), np.float16),
}
CODES = {2, 3, 5}


def _is_refused(read: Callable[[Path], object], path: Path) -> bool:
    """Read a file; any error but one of amctq's for bad input fails the test."""
    begin, refused = time.perf_counter(), None
    try:
        read(path)
    except AmctqError as error:
        refused = error
    assert time.perf_counter() - begin < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < GIBIBYTES * (1 << 20)
    assert refused is None or refused.exit_code in CODES
    return refused is not None


def _fuzz(name: str, content: bytes, read: Callable[[Path], object]) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    assert not _is_refused(read, path), "the file itself is good"
    refused = 0
    for number, damaged in enumerate(mutations(content, count=COUNT, seed=len(name))):
        path.write_bytes(damaged)
        try:
            refused += _is_refused(read, path)
        except Exception as error:
            message = f"mutation {number} of {name}: {type(error).__name__}: {damaged[:300]!r}"
            raise AssertionError(message) from error
    assert refused > COUNT // 10, "the mutations are too weak"


@pytest.mark.parametrize("file", TEXT_FILES, ids=lambda file: file.name)
def test_a_damaged_text_file(file: TextFile) -> None:
    _fuzz(file.name, file.content(), file.read)


def _newest(path: Path) -> object:
    return CheckpointStore(path.parent, keep=1).newest()


def test_a_damaged_snapshot() -> None:
    path = Path("checkpoints/step-00000005.ckpt")
    path.parent.mkdir()
    write_snapshot(path, Snapshot(state=STATE, arrays=ARRAYS))
    _fuzz(str(path), path.read_bytes(), _newest)


def test_a_snapshot_with_a_right_checksum_over_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another version or another program has written is whole."""
    monkeypatch.setattr(snapshots, "_digest", lambda state, arrays: "right")
    path = Path("checkpoints/step-00000005.ckpt")
    path.parent.mkdir()
    write_snapshot(path, Snapshot(state=STATE, arrays=ARRAYS))
    state = dict(snapshots._arrays(path.read_bytes()))[snapshots.STATE].tobytes()

    def read(given: Path) -> None:
        stored = {snapshots.STATE: np.frombuffer(given.read_bytes(), np.uint8), **ARRAYS}
        path.write_bytes(b"".join(snapshots._blocks(stored)))
        found = CheckpointStore(path.parent, keep=1).newest().snapshot.state
        assert {type(found.step), type(found.evaluated)} == {int}

    _fuzz("state.json", state, read)


def test_what_is_as_good_as_absent_when_it_is_damaged() -> None:
    """The logs of a damaged run may be replaced."""
    status = b'{"event": "start", "guard": 1}\n{"event": "end", "exit_code": 0, "time": 1.0}\n'
    for damaged in mutations(status, count=COUNT, seed=2):
        Path("status.jsonl").write_bytes(damaged)
        has_ended_well(Path("status.jsonl"))


def test_through_the_command(pictures: Path) -> None:
    """A few of each that the command reads before MindSpore is loaded: one JSON object, whatever the file holds."""
    network = ("--dataset", pictures, "--ckpt", pictures / "none.ckpt", "--model", "resnet8", "--json")
    commands = {
        "config.json": ("ptq", *network, "--config"),
        "simple.cfg": ("ptq", *network, "--config"),
        "retrain.json": ("qat", *network, "--config"),
        "retrain_config.py": ("qat", *network, "--hyper-parameters"),
        "table.json": ("rank-table", "--json", "--check"),
        "hccn.conf": ("rank-table", "--json", "--server-ip", "10.0.0.1", "--force", "--hccn-conf"),
    }
    for file in TEXT_FILES:
        if file.name in commands:
            for damaged in mutations(file.content(), count=max(COUNT // 10, 10), seed=9):
                Path(file.name).write_bytes(damaged)
                done = amctq_here(*commands[file.name], file.name)
                assert done.code in CODES | {0}, (file.name, damaged[:300])
                assert json.loads(done.stdout)["exit_code"] == done.code
                assert "Traceback" not in done.stderr
