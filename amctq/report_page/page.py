"""The whole page. The same report and the same language give the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from string import Template

from amctq.choices import Language
from amctq.report_page.classes import classes, worst
from amctq.report_page.facts import checks, command, environment
from amctq.report_page.fallback import fallback
from amctq.report_page.layers import layers
from amctq.report_page.markup import Markup, element, joined
from amctq.report_page.measured import measured, timing
from amctq.report_page.part import Part
from amctq.report_page.sensitivity import frontier, sensitivity
from amctq.report_page.training import training
from amctq.report_page.verdict import verdict
from amctq.report_page.words import Words

# In the order of what a reader asks: is it good, how small and fast, what to change, why, and how it was made.
_SECTIONS: tuple[tuple[str, Callable[[Words, Part], Markup | None]], ...] = (
    ("verdict", verdict),
    ("measured", measured),
    ("timing", timing),
    ("fallback", fallback),
    ("sensitivity", sensitivity),
    ("frontier", frontier),
    ("training", training),
    ("classes", classes),
    ("worst", worst),
    ("layers", layers),
    ("checks", checks),
    ("command", command),
    ("environment", environment),
)


def draw_page(report: Part, language: Language) -> bytes:
    """The page of a report, UTF-8.

    Raises:
        InputError: a value of the report is not what it must be.
    """
    words = Words(language)
    drawn = [(name, section) for name, draw in _SECTIONS if (section := draw(words, report)) is not None]
    links = [element("li", element("a", words(name), href=f"#{name}")) for name, _ in drawn]
    title = _title(words, report)
    page = Template(_file("page.html")).substitute(
        language="zh-CN" if language is Language.ZH else "en",
        title=joined(title),
        style=_file("style.css"),
        script=_file("script.js"),
        skip=joined(words("skip")),
        contents=element("nav", element("ul", *links), aria_label=words("contents")),
        sections=joined(*(section for _, section in drawn)),
        footer=joined(words("footer", version=report.part("environment").part("versions").text("amctq", "?"))),
    )
    return page.encode()


def _title(words: Words, report: Part) -> str:
    name = report.part("model").text("name") or words("title.network")
    return words(f"title.{report.text('command')}", network=name)


@cache
def _file(name: str) -> str:
    return files("amctq.report_page").joinpath(name).read_text(encoding="utf-8")
