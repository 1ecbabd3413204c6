"""Sources: code cites docs/en/reference.md by section and nothing outside the project; the page has a Chinese twin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE, TWIN = ROOT / "docs/en/reference.md", ROOT / "docs/zh/reference.md"
FILES = sorted(
    path
    for folder in ("amctq", "tests", "benchmarks")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".c"} and path != Path(__file__)
)
# Sections by number are those of notes outside the project, or of a paper, which the page names; tests and benchmarks
# may read data beside the project.
OUTSIDE = re.compile(r"§|(?<!docs/en/)\breference/\w+\.md|\brule \d+\.\d+")
BESIDE = re.compile(r"\.\./shared")
CITATION = re.compile(r'\(docs/en/reference\.md((?:, "[^"]+")+)\)')


def _cited(text: str) -> Iterator[str]:
    """Names of the sections that a file cites; a citation may go over the end of a line, in a comment too."""
    joined = re.sub(r"\s*\n\s*(?:# )?", " ", text)
    found = [match[1] for match in CITATION.finditer(joined)]
    assert len(found) == joined.count("docs/en/reference.md"), 'a citation is (docs/en/reference.md, "Section")'
    for names in found:
        yield from re.findall(r'"([^"]+)"', names)


def _headings(page: Path) -> list[tuple[int, str]]:
    """Depth and text of each heading, code blocks left out."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [(len(marks), name) for marks, name in re.findall(r"^(#+) (.+)$", text, flags=re.MULTILINE)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_cites_sections_of_the_page_only(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    outside = OUTSIDE.findall(text) + (BESIDE.findall(text) if path.is_relative_to(ROOT / "amctq") else [])
    assert not outside, f"cites {outside[0]}, which is not in the project: cite docs/en/reference.md"
    sections = {name for depth, name in _headings(PAGE) if depth == 2}
    assert set(_cited(text)) <= sections


def test_the_formulas_of_the_package_are_cited() -> None:
    cited = {name for path in FILES if path.is_relative_to(ROOT / "amctq") for name in _cited(path.read_text())}
    assert {"IFMR", "HFMG", "ARQ", "ULQ", "Bias", "Calibration record"} <= cited


def test_the_twin_has_the_same_sections() -> None:
    """A Chinese heading ends with the English name in brackets, by which code cites it."""
    english, chinese = _headings(PAGE), _headings(TWIN)
    assert [(depth, name.rpartition("（")[2]) for depth, name in chinese] == [
        (depth, f"{name}）") for depth, name in english
    ]
