"""Checkpoints and curves on disk: whole or recognised, kept or let go, nothing told twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from amctq.errors import InputError, WriteError
from amctq.files import sha256_of
from amctq.training.history import History, former_lines
from amctq.training.pace import Pace, duration
from amctq.training.snapshot import (
    STATE,
    DamagedSnapshotError,
    EpochScore,
    Snapshot,
    TrainingState,
    _blocks,
    _digest,
    read_snapshot,
    write_snapshot,
)
from amctq.training.store import CheckpointStore

BEGIN = TrainingState(
    step=0, evaluated=0, best=None, last=None, identity={"seed": 1, "路": [1, 2]}, made_on={"cpu": "x"}
)


def _snapshot(step: int, **more: object) -> Snapshot:
    random = np.random.default_rng(step)
    arrays = {
        "conv.weight": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "conv.clip_max": np.float32(random.random()).reshape(()),
        "moments.conv.weight": random.normal(size=(4, 3, 3, 3)).astype(np.float16),
        "counter": np.asarray([step], np.int32),
        "flags": np.asarray([True, False]),
    }
    return Snapshot(state=replace(BEGIN, step=step, **more), arrays=arrays)  # type: ignore[arg-type]


def test_a_snapshot_comes_back_as_it_was(tmp_path: Path) -> None:
    score = EpochScore(epoch=2, metric="top1", figures={"top1": 91.73, "top5": 99.6})
    before = _snapshot(7, evaluated=2, best=score, last=score)
    artifact = write_snapshot(tmp_path / "one.ckpt", before)
    after = read_snapshot(tmp_path / "one.ckpt")
    assert after.state == before.state
    assert list(after.arrays) == list(before.arrays)
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)
        assert (after.arrays[name].dtype, after.arrays[name].shape) == (array.dtype, array.shape)
    again = write_snapshot(tmp_path / "two.ckpt", after)
    assert (again.sha256, again.bytes) == (artifact.sha256, artifact.bytes)


def test_mindspore_reads_it_too(tmp_path: Path) -> None:
    import mindspore

    snapshot = _snapshot(3)
    write_snapshot(tmp_path / "one.ckpt", snapshot)
    found = mindspore.load_checkpoint(str(tmp_path / "one.ckpt"))
    for name, array in snapshot.arrays.items():
        np.testing.assert_array_equal(found[name].asnumpy(), array)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.999, -1], ids=str)
def test_a_truncated_file_is_recognised(kept: float, tmp_path: Path) -> None:
    path = tmp_path / "one.ckpt"
    write_snapshot(path, _snapshot(3))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(DamagedSnapshotError):
        read_snapshot(path)


def test_any_changed_bit_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "one.ckpt"
    write_snapshot(path, _snapshot(3))
    content = path.read_bytes()
    for position in np.random.default_rng(1).integers(0, len(content), 60):
        changed = bytearray(content)
        changed[position] ^= 1 << int(position) % 8
        path.write_bytes(changed)
        try:
            assert read_snapshot(path).state == _snapshot(3).state  # a bit of an unused field may not matter
        except DamagedSnapshotError:
            continue
        np.testing.assert_array_equal(read_snapshot(path).arrays["conv.weight"], _snapshot(3).arrays["conv.weight"])


def test_another_checkpoint_is_no_snapshot(tmp_path: Path) -> None:
    import mindspore

    path = tmp_path / "other.ckpt"
    mindspore.save_checkpoint([{"name": "weight", "data": mindspore.Tensor([1.0])}], str(path))
    with pytest.raises(DamagedSnapshotError, match="not a checkpoint of a training run"):
        read_snapshot(path)


def _names(store: CheckpointStore) -> list[str]:
    return [path.name for path in store.files()]


def test_old_checkpoints_go_when_the_new_one_is_there(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=2)
    store.begin(_snapshot(0))
    for step in (5, 10, 15):
        store.save(_snapshot(step))
    store.save_best(_snapshot(5))
    assert _names(store) == ["best.ckpt", "step-00000010.ckpt", "step-00000015.ckpt"]
    assert store.newest().snapshot.state.step == 15


def test_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=9)
    store.begin(_snapshot(0))
    store.save(_snapshot(5))
    newest = store.save(_snapshot(10)).path
    store.save_best(_snapshot(7))
    newest.write_bytes(newest.read_bytes()[:-1])
    found = store.newest()
    assert (found.snapshot.state.step, found.path.name, found.damaged) == (7, "best.ckpt", (newest,))
    (tmp_path / "best.ckpt").write_bytes(b"")
    found = store.newest()
    assert (found.snapshot.state.step, len(found.damaged)) == (5, 2)
    for path in store.files():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"step-00000010.ckpt, .* damaged"):
        store.newest()


def test_a_file_that_was_changed_afterwards_is_not_vouched_for(tmp_path: Path) -> None:
    former = CheckpointStore(tmp_path, keep=9)
    former.begin(_snapshot(0))
    store = CheckpointStore(tmp_path, keep=9)  # of the run that continues
    saved, removed = store.save(_snapshot(5)), store.save(_snapshot(10))
    saved.path.write_bytes(b"of somebody else")
    removed.path.unlink()
    first, second = store.artifacts()
    assert first.sha256 == sha256_of(tmp_path / "step-00000000.ckpt")
    assert second == saved


def test_the_history_is_summed_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"step": 1, "epoch": 1, "loss": 2}\n{"step": 9, "epoch": 1, "loss": 1}\n{"st')
    with History(path, former_lines(path, _snapshot(3).state)) as history:
        history.step(step=4, epoch=1, loss=0.5, learning_rate=0.1)
        written = path.read_bytes()
    path.write_bytes(b"of somebody else")
    artifact = history.artifact()
    assert written.count(b"\n") == 2
    assert (artifact.bytes, artifact.sha256) == (len(written), hashlib.sha256(written).hexdigest())


def test_a_new_run_replaces_the_former_ones_checkpoints_alone(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    former = CheckpointStore(folder, keep=9)
    former.begin(_snapshot(0))
    former.save(_snapshot(900))
    (folder / "mine.ckpt").touch()
    (folder / ".amctq-partial-step-00000950.ckpt").touch()  # what SIGKILL leaves
    CheckpointStore(folder, keep=9).begin(_snapshot(0))
    assert sorted(path.name for path in folder.iterdir()) == ["mine.ckpt", "step-00000000.ckpt"]


def test_what_cannot_be_written_leaves_the_former_file(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", keep=9)
    store.begin(_snapshot(0))
    best = store.save_best(_snapshot(3)).path
    before = best.read_bytes()
    # A folder in the place of the temporary file: nothing can be written there.
    best.with_name(f".amctq-partial-{best.name}").mkdir()
    with pytest.raises(WriteError, match=r"best\.ckpt"):
        store.save_best(_snapshot(6))
    assert best.read_bytes() == before
    assert _names(store) == ["best.ckpt", "step-00000000.ckpt"]


def _lines(path: Path) -> list[tuple[int, bool]]:
    return [(item["step"], "top1" in item) for item in map(json.loads, path.read_text().splitlines())]


def test_history_goes_on_where_the_checkpoint_was_made(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    with History(path) as history:
        for step in (1, 2, 3, 4, 5):
            history.step(step=step, epoch=(step + 1) // 2, loss=1 / step, learning_rate=0.1)
            if step % 2 == 0:
                history.score(
                    step=step, score=EpochScore(epoch=step // 2, metric="top1", figures={"top1": 90, "top5": 99})
                )
    whole = path.read_bytes()
    assert _lines(path) == [(1, False), (2, False), (2, True), (3, False), (4, False), (4, True), (5, False)]
    path.write_bytes(whole[:-7])  # killed while it wrote
    stopped = replace(BEGIN, step=4, evaluated=1)  # while it evaluated
    with History(path, former_lines(path, stopped)) as history:
        assert _lines(path) == [(1, False), (2, False), (2, True), (3, False), (4, False)]
        history.score(step=4, score=EpochScore(epoch=2, metric="top1", figures={"top1": 90, "top5": 99}))
        history.step(step=5, epoch=3, loss=1 / 5, learning_rate=0.1)
    assert path.read_bytes() == whole
    with History(path, former_lines(path, BEGIN)):
        assert _lines(path) == []


@pytest.mark.parametrize(
    "line",
    ['{"step": "2"}', "[]", "null", "{", "[" * 100_000, '{"step": true, "epoch": 1}', "\ufffd"],
    ids=lambda line: line[:9],
)
def test_a_line_of_history_that_amctq_does_not_write(line: str, tmp_path: Path) -> None:
    """At the end it is what a killed process or a power cut leaves; between others it is damage."""
    path = tmp_path / "history.jsonl"
    good = [f'{{"step": {step}, "epoch": 1, "loss": 0.5, "learning_rate": 0.1}}' for step in (1, 2, 3)]
    state = replace(BEGIN, step=3)
    path.write_text("\n".join([*good, line, "\0" * 40]))
    assert former_lines(path, state) == good
    path.write_text("\n".join([good[0], line, *good[1:], ""]))
    with pytest.raises(InputError, match=r"history\.jsonl, line 2: found .* expected what amctq writes"):
        former_lines(path, state)
    assert former_lines(path, BEGIN) == [], "a new run does not look at it"


def _rewritten(path: Path, **changes: object) -> None:
    """A whole snapshot with other values."""
    state = asdict(BEGIN) | {"schema": 1} | changes
    state["sha256"] = _digest(state, _snapshot(1).arrays)
    stored = np.frombuffer(json.dumps(state).encode(), np.uint8)
    path.write_bytes(b"".join(_blocks({STATE: stored, **_snapshot(1).arrays})))


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "1"},
        {"step": -1},
        {"step": 1 << 60},
        {"step": True},
        {"evaluated": None},
        {"best": {"epoch": 1}},
        {"best": {"epoch": 1, "figures": {}}},
        {"best": {"epoch": 1, "figures": [90, 99]}},
        {"best": {"epoch": 1, "figures": {"top1": "90", "top5": 99}}},
        {"best": {"epoch": 1, "figures": {"top1": 90}, "top5": 99}},
        {"best": [1, 90, 99]},
        {"last": {"epoch": 1, "figures": {"top1": float("nan"), "top5": 99}}},
        {"last": {"epoch": 1, "figures": {"top1": 90, "top5": 10**400}}},
        {"identity": []},
        {"made_on": "x"},
        {"more": 1},
        {"schema": 2},
        {"schema": [1]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_a_whole_snapshot_with_values_of_another_type(changes: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.ckpt"
    _rewritten(path)
    assert CheckpointStore(tmp_path, keep=1).newest().snapshot.state == BEGIN
    _rewritten(path, **changes)
    with pytest.raises(InputError, match=r"step-00000001\.ckpt damaged"):
        CheckpointStore(tmp_path, keep=1).newest()


def test_a_snapshot_of_a_run_in_a_folder_whose_name_is_no_utf8(tmp_path: Path) -> None:
    snapshot = replace(_snapshot(1), state=replace(BEGIN, identity={"source": "\udcff.bin"}))
    write_snapshot(tmp_path / "one.ckpt", snapshot)
    assert read_snapshot(tmp_path / "one.ckpt").state == snapshot.state


def test_a_snapshot_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=9)
    store.begin(_snapshot(0))
    (tmp_path / "best.ckpt").mkdir()
    with pytest.raises(InputError, match=r"best\.ckpt: Is a directory"):
        store.newest()


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0 s"), (99, "99 s"), (720, "12 min"), (3599, "1 h 0 min"), (12000, "3 h 20 min")]
)
def test_durations_are_told_for_people(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_the_first_step_after_something_else_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 102.0, 104.0, 500.0, 502.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    pace = Pace(images=32)
    pace.step_done()
    assert pace.format_rate(10) == ""
    pace.step_done()
    pace.step_done()
    pace.restart()
    pace.step_done()
    assert pace.format_rate(10) == ", 16 images/s, 20 s left"
    pace.step_done()
    assert pace.format_rate(10) == ", 16 images/s, 20 s left"
