"""What a run reads: every file once, what is hashed is what was loaded, and a refusal before an image is measured."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import amctq
from amctq.choices import Device
from amctq.errors import InputError
from amctq.progress import Event, Progress
from tests.command import Own, Shared
from tests.services.phases import Phases

Watch = Callable[[Path], "Counter[str]"]
_watched: dict[Path, Counter[str]] = {}


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched and isinstance(arguments[0], str | bytes | os.PathLike):
        path = Path(os.fsdecode(arguments[0]))
        for folder, opened in _watched.items():
            if path.parent == folder:
                opened[path.name] += 1


@pytest.fixture(scope="module", autouse=True)
def _hook() -> None:
    sys.addaudithook(_audit)  # Python has no way to take one out: it stays, and looks at nothing


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Counts how often each file of a folder is opened by Python."""
    yield lambda folder: _watched.setdefault(folder, Counter())
    _watched.clear()


def _request(shared: Shared, folder: Path, **changed: Any) -> amctq.PtqRequest:
    given: dict[str, Any] = {
        "dataset": shared.data,
        "ckpt": folder / "resnet20.ckpt",
        "model": "resnet20",
        "eval_images": 64,
        "device": Device.CPU,
        "output_dir": folder.parent / "results",
    }
    return amctq.PtqRequest(**given | changed)


@pytest.fixture
def folder(shared: Shared, own: Own, tmp_path: Path) -> Path:
    """Inputs of the test's own: checkpoint, configuration, record."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    shutil.copyfile(shared.checkpoint("resnet20"), folder / "resnet20.ckpt")
    shutil.copyfile(own.config, folder / "config.json")
    shutil.copyfile(own.record, folder / "record.txt")
    return folder


def test_a_record_of_another_network_is_refused_before_an_image_is_measured(shared: Shared, folder: Path) -> None:
    record = folder / "record.txt"
    record.write_text(record.read_text().replace('"layer1.0.conv1"', '"layer9.0.conv1"'))
    phases = Phases()
    with pytest.raises(InputError, match=r"layer9\.0\.conv1 is not in this network"):
        amctq.ptq(_request(shared, folder, record=record), phases)
    assert phases.names[-1] == "proof"
    assert "float accuracy" not in phases.names
    assert not (folder.parent / "results").exists()


def test_a_damaged_record_is_refused_before_mindspore_is_loaded(shared: Shared, folder: Path) -> None:
    (folder / "record.txt").write_text("record {")
    phases = Phases()
    with pytest.raises(InputError, match="is no calibration record"):
        amctq.ptq(_request(shared, folder, record=folder / "record.txt"), phases)
    assert phases.names == []


@pytest.mark.parametrize(("option", "name"), [("record", "record.txt"), ("config", "config.json")])
def test_inputs_are_read_once(shared: Shared, folder: Path, watch: Watch, option: str, name: str) -> None:
    opened = watch(folder)
    amctq.ptq(_request(shared, folder, **{option: folder / name, "eval_images": 0}))
    # The checkpoint is opened first to see whether it can be; only the second time is anything read.
    assert opened == {name: 1, "resnet20.ckpt": 2}


def test_the_report_vouches_for_the_checkpoint_that_was_loaded(shared: Shared, folder: Path) -> None:
    checkpoint = folder / "resnet20.ckpt"
    loaded = hashlib.sha256(checkpoint.read_bytes()).hexdigest()

    def replace_it(event: Event) -> None:
        if isinstance(event, Progress) and event.phase == "float export":
            checkpoint.write_bytes(b"another file")

    result = amctq.ptq(_request(shared, folder, eval_images=0), replace_it)
    assert checkpoint.read_bytes() == b"another file"
    assert result.data()["model"]["checkpoint_sha256"] == loaded
