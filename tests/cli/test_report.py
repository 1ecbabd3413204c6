"""``amctq report``: the page of a run again, and what is no report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.command import Shared, amctq_here
from tests.report_page.reports import FEW
from tests.runs import Runs

LARGEST = 3 << 20


@pytest.fixture
def folder(shared: Shared, runs: Runs) -> Path:
    """The files of a run in the current directory."""
    _, output = runs.finished("ptq", *shared.network("resnet20"), *FEW, "--lang", "en")
    for name in ("report.json", "report.html"):
        shutil.copyfile(output / name, name)
    return output


def test_it_draws_what_the_run_drew(folder: Path) -> None:
    for _ in range(2):
        done = amctq_here("report", "report.json", "--lang", "en", "--force", "--json")
        assert done.code == 0, done.stderr
        assert Path("report.html").read_bytes() == (folder / "report.html").read_bytes()
    assert done.data["command"] == "ptq"
    assert [Path(item["path"]).name for item in done.envelope["artifacts"]] == ["report.html"]
    assert Path("report.html").stat().st_size < LARGEST


def test_the_language_is_that_of_the_environment(folder: Path) -> None:
    for environment, language in (
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"AMCTQ_LANG": "zh"}, "zh"),
    ):
        clean = {"LC_ALL": "", "LC_MESSAGES": "", "LANG": ""} | environment
        done = amctq_here("report", "report.json", "--force", "--json", env=clean)
        assert done.data["language"] == language, environment


def test_a_page_is_not_replaced_unasked(folder: Path) -> None:
    done = amctq_here("report", "report.json", "--json")
    assert done.code == 2
    assert "--force" in done.envelope["errors"][0]["hint"]
    done = amctq_here("report", "report.json", "-o", "other/page.html", "--json")
    assert done.code == 0
    assert Path("other/page.html").exists()
    done = amctq_here("report", "report.json", "-o", "report.json", "--force", "--json")
    assert done.code == 2
    assert "is the report to read" in done.envelope["errors"][0]["message"]


def test_what_evaluate_prints_is_drawn_too(shared: Shared) -> None:
    done = amctq_here("evaluate", *shared.network("resnet20"), "--eval-images", 40, "--json")
    Path("evaluated.json").write_text(done.stdout)
    drawn = amctq_here("report", "evaluated.json", "--lang", "en", "--json")
    assert drawn.code == 0, drawn.stderr
    assert drawn.data["command"] == "evaluate"
    page = Path("evaluated.html").read_text(encoding="utf-8")
    assert f"top-1 {done.data['accuracy']['top1']:.2f} % on 40 samples" in page
    assert sum(row["samples"] for row in done.data["classes"]["per_class"]) == 40


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('{"schema": 2, "command": "ptq"}', "has schema 2, and amctq"),
        ('{"schema": true, "command": "ptq"}', "has schema true, and"),
        ('{"schema": 1, "command": "doctor"}', "is of 'doctor'"),
        ('{"exit_code": 3, "command": "ptq", "errors": []}', "is of a run that ended with exit 3"),
        ('{"schema": 1}', "is no report: it has no command"),
        ('{"command": "ptq"}', "is no report: it has no schema"),
        ("[1]", "expected a JSON object"),
        ("<html>", "is no JSON"),
        ('{"schema": 1, "command": "ptq", "accuracy": [1]}', "accuracy: expected an object"),
        ('{"schema": 1, "command": "ptq", "histograms": [{"weight": {"lo": "a"}}]}', "histograms[0].weight.lo"),
    ],
)
def test_what_is_no_report_is_refused(content: str, says: str) -> None:
    Path("report.json").write_text(content)
    done = amctq_here("report", "report.json", "--json")
    assert done.code == 3, done.stdout
    (error,) = done.envelope["errors"]
    assert says in error["message"]
    assert error["hint"]
    assert not Path("report.html").exists()


def test_a_report_that_is_not_there() -> None:
    done = amctq_here("report", "nowhere.json", "--json")
    assert done.code == 3
    assert json.loads(done.stdout)["errors"][0]["message"].startswith("cannot read the report nowhere.json")
