"""Sources: code cites docs/en/reference.md by section and nothing outside the project; the page has a Chinese twin."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, TWIN = ROOT / "docs/en/reference.md", ROOT / "docs/zh/reference.md"
FOLDERS = ("amctq", "tests", "benchmarks")
# Sections by number are those of notes outside the project, or of a paper, which the page names.
OUTSIDE = re.compile(r"§|(?<!docs/en/)\breference/\w+\.md|\brule \d+\.\d+")
# Tests and benchmarks may read data beside the project.
BESIDE = re.compile(r"\.\./shared")
CITATION = re.compile(r'\(docs/en/reference\.md((?:, "[^"]+")+)\)')


@cache
def _texts() -> dict[str, str]:
    """Source files by path, but for this one."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".c"}]
    paths.remove(Path(__file__))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def _cited(text: str) -> set[str]:
    """The sections that a file cites; a citation may go over the end of a line, in a comment too."""
    joined = re.sub(r"\n\s*(?:# )?", " ", text)
    found = [match[1] for match in CITATION.finditer(joined)]
    assert len(found) == joined.count("docs/en/reference.md"), 'a citation is (docs/en/reference.md, "Section")'
    return {name for names in found for name in re.findall(r'"([^"]+)"', names)}


def _headings(page: Path) -> list[tuple[int, str]]:
    """Depth and text of each heading, code blocks left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [(len(marks), name) for marks, name in re.findall(r"^(#+) (.+)$", text, flags=re.MULTILINE)]


def test_code_cites_nothing_outside_the_project() -> None:
    found = {path: OUTSIDE.findall(text) for path, text in _texts().items()}
    for path, text in _texts().items():
        if path.startswith("amctq/"):
            found[path] += BESIDE.findall(text)
    assert {path: outside for path, outside in found.items() if outside} == {}


def test_every_section_that_code_cites_is_there() -> None:
    sections = {name for depth, name in _headings(PAGE) if depth == 2}
    missing = {path: _cited(text) - sections for path, text in _texts().items()}
    assert {path: names for path, names in missing.items() if names} == {}


def test_the_package_cites_its_formulas() -> None:
    cited = {name for path, text in _texts().items() if path.startswith("amctq/") for name in _cited(text)}
    assert {"IFMR", "HFMG", "ARQ", "ULQ", "Bias", "BatchNorm fusion", "Calibration record"} <= cited


def test_the_twin_has_the_same_sections() -> None:
    """A Chinese heading ends with the English one in brackets, by which code cites it."""
    assert [(depth, name.rpartition("（")[2]) for depth, name in _headings(TWIN)] == [
        (depth, f"{name}）") for depth, name in _headings(PAGE)
    ]
