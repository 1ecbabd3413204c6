"""The house: who imports whom, what loads at start-up, what stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import amctq

PACKAGE = Path(amctq.__file__).parent
RANKS = {
    "cli": 4,
    "services": 3,
    "backends": 2,
    "export": 2,
    "data": 2,
    "models": 2,
    "distributed": 2,
    "pretrained": 2,
    "training": 2,
    "quant": 1,
    "download": 1,
    "progress": 0,
    "runtime": 0,
    "choices": 0,
    "errors": 0,
    "files": 0,
    "json_file": 0,
    "signals": 0,
    "plugins": 0,
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def _rank(module: str) -> int | None:
    parts = module.split(".")
    return RANKS.get(parts[1]) if parts[0] == "amctq" and len(parts) > 1 else None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    name = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if name in {"__init__", "__main__"}:
        return
    assert name in RANKS, f"{name} has no place in the house: give it a rank here, and a line in CONTRIBUTING.md"
    for imported in _imports(path):
        rank = _rank(imported)
        assert rank is None or rank <= RANKS[name], f"{path.name} imports {imported}, which stands above it"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    assert path.stem not in {"utils", "helpers", "common", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_a_console(path: Path) -> None:
    if path.parent.name != "cli":
        tops = {name.partition(".")[0] for name in _imports(path)}
        assert not tops & {"rich", "typer"}


@pytest.mark.parametrize(
    "name",
    [
        "numerics",
        "weights",
        "weight_mse",
        "ulq",
        "paired",
        "record",
        "histogram",
        "observers/base",
        "observers/minmax",
        "observers/ifmr",
        "observers/hfmg",
        "observers/percentile",
        "observers/mse",
        "observers/entropy",
        "observers/error",
        "observers/statistics",
        "observers/tails",
    ],
)
def test_the_mathematics_is_numpy_only(name: str) -> None:
    tops = {imported.partition(".")[0] for imported in _imports(PACKAGE / "quant" / f"{name}.py")}
    assert not tops & {"mindspore", "onnx", "onnxruntime"}


@pytest.mark.parametrize("name", ["schedules", "randomness", "augmentation", "batches", "recipe"])
def test_schedule_order_and_augmentation_are_numpy_only(name: str) -> None:
    tops = {imported.partition(".")[0] for imported in _imports(PACKAGE / "training" / f"{name}.py")}
    assert not tops & {"mindspore", "onnx", "onnxruntime"}


def test_start_up_loads_no_framework() -> None:
    code = (
        "import sys, amctq.cli.app; "
        "heavy = ('mindspore', 'onnx', 'onnxruntime', 'numpy', 'rich', 'httpx'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    for name in amctq.__all__:
        assert getattr(amctq, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = amctq.nonsense
