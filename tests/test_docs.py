"""README and docs/: short enough, the same in both languages, and nothing in them that is not there."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

import amctq
from amctq.cli import app

ROOT = Path(__file__).resolve().parents[1]
READMES = ROOT / "README.md", ROOT / "README.zh.md"
ENGLISH = sorted((ROOT / "docs" / "en").glob("*.md"))
PAGES = [*READMES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS: dict[str, Any] = {name: command.typer_command() for name, command in app.COMMANDS.items()}
OPTIONS = {
    "--help",
    *(name for command in COMMANDS.values() for item in command.params for name in (*item.opts, *item.secondary_opts)),
}
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
CHINESE = re.compile(r"[\u4e00-\u9fff]")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def _blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each code block."""
    return [(block["language"], block["text"]) for block in BLOCK.finditer(page.read_text())]


def _prose(page: Path) -> str:
    return BLOCK.sub("", page.read_text())


def _headings(page: Path) -> list[str]:
    return re.findall(r"^#+ .+$", _prose(page), re.MULTILINE)


def _anchors(page: Path) -> set[str]:
    """What a heading is called in an address, as GitHub makes it."""
    titles = (heading.lstrip("#").strip().lower() for heading in _headings(page))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_a_readme_is_short(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= 160


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
@pytest.mark.parametrize("marker", ["main", "test", "own"])
def test_a_readme_marks_the_commands_that_ci_runs(page: Path, marker: str) -> None:
    assert len(re.findall(rf"^<!-- ci: {marker} -->\n```sh\n.+\n```$", page.read_text(), re.MULTILINE)) == 1


@pytest.mark.parametrize(
    ("page", "twin"),
    [READMES, *((page, ROOT / "docs" / "zh" / page.name) for page in ENGLISH)],
    ids=["README", *(page.stem for page in ENGLISH)],
)
def test_a_page_and_its_chinese_twin_have_the_same_parts(page: Path, twin: Path) -> None:
    assert [heading.split()[0] for heading in _headings(page)] == [heading.split()[0] for heading in _headings(twin)]
    ours, theirs = _without_comments(page), _without_comments(twin)
    assert [language for language, _ in ours] == [language for language, _ in theirs]
    for (_, english), (_, chinese) in zip(ours, theirs, strict=True):
        assert english == chinese or CHINESE.search(chinese)
    assert CHINESE.search(_prose(twin))


def _without_comments(page: Path) -> list[tuple[str, str]]:
    return [(language, re.sub(r"(?m)^# .*$|  +# .*$", "", text)) for language, text in _blocks(page)]


def test_no_chinese_page_is_without_an_english_one() -> None:
    assert [page.name for page in sorted((ROOT / "docs" / "zh").glob("*.md"))] == [page.name for page in ENGLISH]


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", _prose(page))):
        if target.startswith(("https://", "http://")):
            continue
        place, _, anchor = target.partition("#")
        linked = page.parent / place if place else page
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), target


@each_page
def test_files_of_the_project_are_there(page: Path) -> None:
    for code in CODE.findall(_prose(page)):
        if re.fullmatch(r"(amctq|tests|benchmarks|completions)/[\w./-]*", code):
            assert "NAME" in code or (ROOT / code).exists(), code  # NAME: any new module


@each_page
def test_commands_have_only_options_that_exist(page: Path) -> None:
    Path("retrain_config.py").write_text("CONFIG_QUANT = ed({'epoch_size': 30})\n")
    for block in _blocks(page):
        for line in _lines(*block):
            _parse(line)
    for code in CODE.findall(_prose(page)):
        if code.startswith("amctq "):
            _parse(re.sub(r"\[(--\w+)\]", r"\1", code), complete=False)
        elif code.startswith("--"):
            for name in re.findall(r"(?<!\S)--[a-z-]+(?![\w])", code):
                assert name in OPTIONS, code


def _lines(language: str, text: str) -> list[str]:
    """The command lines of a block, from ``amctq`` on: all of a shell's, those after the prompt of an output."""
    lines = text.replace("\\\n", " ").splitlines()
    if language != "sh":
        lines = [line for line in lines if line.startswith("$ ")]
    parts = [part.strip().removeprefix("$ ").removeprefix(".venv/bin/") for line in lines for part in line.split("&&")]
    return [re.sub(r" > \S+$", "", part) for part in parts if part.startswith("amctq ")]


def _parse(line: str, *, complete: bool = True) -> None:
    """Let the app's own command parse ``line``; a line that is not ``complete`` may lack what is required."""
    _, name, *words = (word for word in shlex.split(line, comments=True) if word != "--help")
    if name.startswith("-"):
        assert name in {"--version", "--install-completion"}, line
        return
    assert name in COMMANDS, line
    try:
        COMMANDS[name].make_context(name, words)
    except typer.TyperException as error:
        if complete or type(error).__name__ != "MissingParameter":
            pytest.fail(f"{line}: {error.format_message()}")


@each_page
def test_python_uses_only_what_is_public(page: Path) -> None:
    for language, text in _blocks(page):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "amctq":
                assert node.attr in amctq.__all__, node.attr
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Request"):
                request = getattr(amctq, ast.unparse(node.func).removeprefix("amctq."))
                fields = {field.name for field in dataclasses.fields(request)}
                assert {keyword.arg for keyword in node.keywords} <= fields
    if page.name == "python.md":
        for name in re.findall(r"`amctq\.([A-Za-z_]+)`", _prose(page)):
            assert name in amctq.__all__, name
