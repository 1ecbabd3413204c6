"""The house: who imports whom, what loads at start-up, what stays small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TypeGuard

import pytest

import amctq

PACKAGE = Path(amctq.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
# From the bottom up. A room may import from its own floor and from the floors below.
FLOORS = (
    "version errors choices progress runtime signals plugins folder_lock durability streams leftovers regular_file "
    "files disk input_file json_file json_value number_text",
    "quant",
    "graph amct_files data download report_page",
    "networks inference",
    "export training distributed",
    "backends pretrained",
    "services",
    "cli",
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
FRAMEWORKS = {"mindspore", "onnx", "onnxruntime"}
DEEPEST_SERVICES = 10


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path): path for path in MODULES}


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Every module that a file imports, at its top, inside functions or for types only."""
    return frozenset(_imports(ast.parse(path.read_text())))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [member for member in members if member in NAMES]
            yield from found
            if len(found) < len(members):
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def graph() -> dict[str, set[str]]:
    """The modules of the package, each with those that it imports; the package's own front door is left out."""
    return {
        name: {imported for imported in imports_of(path) if imported in NAMES and imported != "amctq"}
        for name, path in NAMES.items()
        if name != "amctq"
    }


def depth(name: str, edges: Mapping[str, set[str]], known: dict[str, int]) -> int:
    """The number of modules on the longest chain of imports that begins at ``name``."""
    if name not in known:
        known[name] = 1 + max((depth(other, edges, known) for other in edges[name]), default=0)
    return known[name]


def test_no_circle_of_modules() -> None:
    list(TopologicalSorter(graph()).static_order())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    room = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if room in {"__init__", "__main__"}:
        return
    assert room in FLOOR, f"{room} has no place in the house: give it a floor here and in CONTRIBUTING.md"
    for imported in imports_of(path):
        parts = imported.split(".")
        if parts[0] == "amctq" and len(parts) > 1:
            assert FLOOR[parts[1]] <= FLOOR[room], f"{path.name} imports {imported}, which is above it"


def test_services_are_not_deep() -> None:
    services = {
        name: {other for other in imported if other.startswith("amctq.services.")}
        for name, imported in graph().items()
        if name.startswith("amctq.services.")
    }
    known: dict[str, int] = {}
    deepest = max(services, key=lambda name: depth(name, services, known))
    assert known[deepest] - 1 <= DEEPEST_SERVICES, f"{deepest} begins a chain of {known[deepest] - 1} imports"


def test_no_engine_knows_the_other() -> None:
    edges = graph()
    assert not any("amctq.backends.amct" in name for name in edges["amctq.backends.native"])
    assert "amctq.backends.native" not in edges["amctq.backends.amct"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_holds_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
    assert path.stem not in {"utils", "helpers", "common", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_command_line_knows_a_console(path: Path) -> None:
    if path.parent.name != "cli":
        tops = {name.partition(".")[0] for name in imports_of(path)}
        assert not tops & {"rich", "typer"}


def _is_numpy_only(path: Path) -> None:
    tops = {imported.partition(".")[0] for imported in imports_of(path)}
    assert not tops & FRAMEWORKS, f"{path.name} imports {tops & FRAMEWORKS}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "quant").rglob("*.py")), ids=lambda path: path.stem)
def test_the_mathematics_is_numpy_only(path: Path) -> None:
    _is_numpy_only(path)


@pytest.mark.parametrize("name", ["schedules", "randomness", "augmentation", "batches", "recipe"])
def test_schedule_order_and_augmentation_are_numpy_only(name: str) -> None:
    _is_numpy_only(PACKAGE / "training" / f"{name}.py")


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


def test_type_checkers_see_the_public_names() -> None:
    imports = [node for node in ast.walk(ast.parse((PACKAGE / "__init__.py").read_text())) if _is_public(node)]
    typed = {alias.asname: node.module for node in imports for alias in node.names}
    assert typed == amctq._PUBLIC


def _is_public(node: ast.AST) -> TypeGuard[ast.ImportFrom]:
    return isinstance(node, ast.ImportFrom) and str(node.module).startswith("amctq.services")
