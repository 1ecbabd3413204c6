"""What a person sees on a terminal, and that a pipe stays plain."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from amctq.cli.command_lines import wrapped_command
from amctq.cli.consoles import console_of
from amctq.cli.ptq import report_tables
from amctq.cli.table import fitted_widths
from amctq.pretrained import CHECKPOINT
from tests.command import AMCTQ, amctq
from tests.terminal import ESCAPE, Seen, on_terminals

FEW = ("--calib-images", 8, "--eval-images", 64)
OUTPUT = "结果 of a run"  # characters of two columns, and a blank
BARS = set("━╸╺─-")  # the last where the encoding holds no others
PLAIN: dict[str, str] = {}
ASCII = {"PYTHONIOENCODING": "ascii"}


def _network(pictures: Path) -> tuple[object, ...]:
    return "--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8"


def _report(folder: str) -> dict[str, Any]:
    report = json.loads(Path(folder, "report.json").read_text(encoding="utf-8"))
    assert isinstance(report, dict)
    return report


def _piped(report: dict[str, Any]) -> str:
    stream = io.StringIO()
    console = console_of(stream)
    for block in report_tables(report):
        console.print(block, soft_wrap=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("columns", "env"), [(60, PLAIN), (80, {"NO_COLOR": "1"}), (120, ASCII)], ids=["60", "80-no-color", "120-ascii"]
)
def test_a_run_on_a_terminal(columns: int, env: dict[str, str], pictures: Path) -> None:
    output = "results" if env is ASCII else OUTPUT
    seen = on_terminals("ptq", *_network(pictures), *FEW, "--output-dir", output, columns=columns, env=env)
    assert seen.code == 0, seen.err
    report = _report(output)
    lines = seen.stdout
    assert all(cell_len(line) <= columns for line in lines + seen.stderr)
    _check_verdict(lines, report)
    _check_figures(lines, report)
    _check_words(lines, report, Path(output))
    _check_files(lines, Path(output))
    _check_phases(seen, report)
    styles = {letter for _, letter in ESCAPE.findall(seen.out)}
    assert styles == (set() if "NO_COLOR" in env else {"m"})
    assert env is not ASCII or seen.out.isascii()


def _check_verdict(lines: list[str], report: dict[str, Any]) -> None:
    """First of all, and the words of --json with the speed behind them."""
    verdict = report["verdict"]
    assert verdict["passed"]
    said = " ".join(lines[: lines.index("")])
    assert said.startswith(f"passed: {verdict['text']}, ")
    assert re.search(r", (\d+\.\d\dx (faster|slower)|as fast)$", said)


def _check_figures(lines: list[str], report: dict[str, Any]) -> None:
    accuracy, file = report["accuracy"], report["files"]["onnx"]
    speed = report["timing"]["images_per_second"]
    rows = {
        "top-1, %": [f"{accuracy[stage]['top1']:.2f}" for stage in ("float", "int8")],
        "top-5, %": [f"{accuracy[stage]['top5']:.2f}" for stage in ("float", "int8")],
        "onnx, bytes": [f"{file[size]:,}" for size in ("float_bytes", "int8_bytes")],
        "images/s": [f"{speed[stage]:,.0f}" for stage in ("float", "int8")],
    }
    for name, values in rows.items():
        (line,) = [line for line in lines if line.startswith(name)]
        cells = re.split(r"[ |]+", line.removeprefix(name).strip(" |"))
        assert [cell for cell in cells if not set(cell) <= BARS][:2] == values
        assert any(set(cell) <= BARS for cell in cells), "there is room for bars"


def _check_words(lines: list[str], report: dict[str, Any], output: Path) -> None:
    """Every word is one that a pipe gets: none is broken."""
    whole = {part for word in _piped(report).split() for part in (word, word.removesuffix(":"))}
    for path in output.rglob("*"):
        whole |= {path.name, f"{path.stat().st_size:,}"}
    whole |= {"bytes", *f"{output}/".split()}
    for word in re.split(r"[\s|+]+", "\n".join(lines)):
        assert word in whole or set(word) <= BARS, word


def _check_files(lines: list[str], output: Path) -> None:
    """Under their folder, with sizes that end in one column."""
    start = next(at for at, line in enumerate(lines) if line.startswith(f"{output}/"))
    rows = lines[start : lines.index("", start)]
    assert len({cell_len(row) for row in rows}) == 1
    shown = {name: int(size.replace(",", "")) for name, size in map(str.split, rows[1:])}
    assert shown == {path.name: path.stat().st_size for path in output.iterdir()}


def _check_phases(seen: Seen, report: dict[str, Any]) -> None:
    ended = dict(re.findall(r"^(\w.*?)  +([\d.]+) s$", "\n".join(seen.stderr), re.MULTILINE))
    assert {name: float(seconds) for name, seconds in ended.items()} == pytest.approx(
        report["timing"]["seconds"], abs=0.06
    )
    assert not any("0:00" in line for line in seen.stderr), "no bar is left"


@pytest.mark.parametrize("env", [PLAIN, {"FORCE_COLOR": "1", "COLUMNS": "40"}], ids=["", "forced"])
def test_a_pipe_is_plain(env: dict[str, str], pictures: Path) -> None:
    done = amctq("ptq", *_network(pictures), *FEW, "--output-dir", "results", env=env)
    assert done.code == 0, done.stderr
    report = _report("results")
    assert done.stdout.isascii(), "no box, no bar"
    assert "\x1b" not in done.stdout + done.stderr
    files = [line for line in done.stdout.splitlines() if line.startswith("results/")]
    assert sorted(map(Path, files)) == sorted(Path("results").iterdir())
    assert done.stdout.splitlines(keepends=True)[: -len(files)] == _piped(report).splitlines(keepends=True)
    assert "layers: 8 quantized with weights of 8 bits, 0 left in float; placement ort\n" in done.stdout
    assert not re.search(r" [\d.]+ s$", done.stderr, re.MULTILINE), "phases are for people"


DRAW = ("prepare-cifar", "--synthetic", "--train-images", 200, "--test-images", 10)


def test_a_redirected_result_arrives_though_stderr_is_a_terminal() -> None:
    """The bars may not take the result with them to stderr."""
    command = shlex.join([str(AMCTQ), *map(str, DRAW)])
    shown = subprocess.run(
        ["script", "-qec", f"stty cols 80; {command} > result.txt", "/dev/null"],
        capture_output=True,
        check=True,
        stdin=subprocess.DEVNULL,
    ).stdout.decode()
    lines = Path("result.txt").read_text().splitlines()
    assert lines[0].startswith("generated (not CIFAR-10), prepared in")
    assert {Path(line) for line in lines[1:]} == {path for path in Path("data").rglob("*") if path.is_file()}
    assert "drawing" in shown
    assert lines[0] not in shown


def test_quiet_and_json_show_no_phases() -> None:
    quiet = on_terminals(*DRAW, "--quiet", columns=80)
    assert (quiet.code, quiet.err) == (0, "")
    told = on_terminals(*DRAW, "--force", "--json", columns=60)
    assert (told.code, told.err) == (0, "")
    assert json.loads(told.out)["command"] == "prepare-cifar"


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_long_command_is_one_for_a_shell(width: int) -> None:
    command = "amctq ptq --dataset '我的 演示' --ckpt '我的 演示/resnet8.ckpt' --model resnet8 && amctq doctor"
    lines = wrapped_command(command, "the same with weights of 7 bits, which are exact without VNNI", width)
    assert all(cell_len(line) <= width for line in lines)
    echoed = "\n".join(lines).replace("amctq", "echo amctq")
    done = subprocess.run(["bash", "-c", echoed], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines() == [" ".join(shlex.split(part)) for part in command.split(" && ")]


@pytest.mark.parametrize("room", range(20, 100, 7))
def test_columns_hold_their_words(room: int) -> None:
    rows = [("layer1.0.conv1", "Conv2d", "8 bits, arq, per channel"), ("层", "AvgPool", "")]
    widths = fitted_widths(rows, room)
    assert sum(widths) == min(room, 14 + 7 + 24)
    if room >= 14 + 7 + 8:
        assert widths[0] >= 14
        assert widths[1] >= 7
        assert widths[2] >= len("channel")
