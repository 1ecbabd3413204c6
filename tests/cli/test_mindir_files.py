"""MindIR files that MindSpore itself exports: several inputs and outputs, and sizes that are left open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import amctq_here
from tests.runs import Runs, ptq

WRITE = Path(__file__).with_name("write_mindir.py")
DATA = """
import numpy as np

DRAW = np.random.default_rng(1)
PICTURES = DRAW.normal(size=(40, 3, 16, 16)).astype(np.float32)
LARGE = DRAW.normal(size=(40, 3, 19, 24)).astype(np.float32)
NUMBERS = DRAW.normal(size=(40, 4)).astype(np.float32)


def pictures():
    return [(picture, index % 5) for index, picture in enumerate(PICTURES)]


def large():
    return [(picture, None) for picture in LARGE]


def named():
    return [({"numbers": NUMBERS[index], "picture": PICTURES[index]}, index % 5) for index in range(40)]


def hits(outputs, targets):
    return float((outputs[0].argmax(1) == np.asarray(targets)).mean())
"""
FEW = ("--calib-images", 8, "--allow-poor-float")


@pytest.fixture
def files(runs: Runs) -> Path:
    """The files that ``WRITE`` makes; their data are in the current directory."""
    Path("data.py").write_text(DATA)
    return runs.made(
        "mindir-files", lambda folder: subprocess.run([sys.executable, WRITE, folder], check=True, timeout=300)
    )


@pytest.mark.parametrize(("name", "outputs"), [("two", 2), ("any", 2), ("nested", 3)])
def test_every_output_of_a_file_is_read(name: str, outputs: int, files: Path) -> None:
    data = ptq(("--model", files / f"{name}.mindir", "--dataset", "data.py:pictures"), *FEW).data
    assert [found["output"] for found in data["fidelity"]["outputs"]] == [f"output_{at}" for at in range(outputs)]
    assert all(check["passed"] for check in data["checks"])


def test_evaluate_gives_a_metric_every_output_of_a_file(files: Path) -> None:
    metric = ("--dataset", "data.py:pictures", "--metric", "data.py:hits")
    scores = []
    for name in ("two", "any"):
        done = amctq_here("evaluate", "--mindir", files / f"{name}.mindir", *metric, "--json")
        assert done.code == 0, done.stderr
        scores.append(done.data["accuracy"]["hits"])
    assert 0 < scores[0] == scores[1]


def test_inputs_have_the_names_of_the_parameters_of_construct(files: Path) -> None:
    arguments = ("evaluate", "--mindir", files / "inputs.mindir", "--json", "--dataset")
    done = amctq_here(*arguments, "data.py:named")
    assert done.code == 0, done.stderr
    done = amctq_here(*arguments, "data.py:pictures")
    assert done.code == 3
    assert "takes picture tensor(float) [1, 3, 16, 16], numbers tensor(float) [1, 4]" in done.stderr


@pytest.mark.parametrize(
    ("name", "dataset", "more", "sizes"),
    [
        ("open", "pictures", (), (16, 16)),
        ("open", "pictures", ("--input", "picture:3x16x16"), (16, 16)),
        ("open", "large", (), (19, 24)),
        ("open_one", "large", (), (19, 24)),
    ],
)
def test_open_sizes_are_those_of_the_samples(
    name: str, dataset: str, more: tuple[str, ...], sizes: tuple[int, int], files: Path
) -> None:
    """The pads of pad_mode "same" depend on them."""
    data = ptq(("--model", files / f"{name}.mindir", "--dataset", f"data.py:{dataset}"), *FEW, *more).data
    assert all(check["passed"] for check in data["checks"])
    assert data["model"]["inputs"]["picture"]["shape"] == [3, *sizes]


def test_sizes_that_the_graph_cannot_have_are_refused(files: Path) -> None:
    done = amctq_here("ptq", "--model", files / "one_size.mindir", "--dataset", "data.py:large", *FEW)
    assert done.code == 3
    assert "leaves sizes open" in done.stderr
    assert "export it for one size" in done.stderr
