"""What a run was: its command, checks and warnings, data and environment."""

from __future__ import annotations

import shlex

from amctq.report_page.figures import grouped
from amctq.report_page.markup import Child, Markup, element
from amctq.report_page.part import Part
from amctq.report_page.table import Cell, copy_button, table
from amctq.report_page.words import Words

_OF_RUN = "en"  # the language of what a run has written into its report


def command(words: Words, report: Part) -> Markup | None:
    """The command line, with a button to copy it."""
    given = report.texts("command_line")
    if not given:
        return None
    return element(
        "section",
        element("h2", words("command"), id="command"),
        element("p", words("command.note"), class_="note"),
        _shell(words, shlex.join(given), words("command")),
        *_deployment(words, report.part("deployment")),
        aria_labelledby="command",
    )


def _shell(words: Words, text: str, name: str) -> Markup:
    return element(
        "div",
        element("pre", element("code", text), tabindex="0", lang=_OF_RUN, aria_label=name),
        copy_button(words, name),
        class_="tabled",
    )


def _deployment(words: Words, found: Part) -> list[Child]:
    """The commands for the files, and what of them has not run."""
    commands = found.parts("commands")
    content: list[Child] = [element("h3", words("deployment", target=found.text("target")))] if commands else []
    if content and found.text("runtime"):
        content.append(element("p", words("deployment.runtime", runtime=found.text("runtime")), class_="note"))
    if found.said("not_run"):
        content.append(element("p", found.said("not_run"), class_="note", lang=_OF_RUN))
    for each in commands:
        content.append(element("p", each.text("does"), lang=_OF_RUN))
        content.append(_shell(words, each.text("command"), each.text("does")))
    return content


def checks(words: Words, report: Part) -> Markup | None:
    """Checks and warnings."""
    made, warned = report.parts("checks"), report.texts("warnings")
    if not made and not warned:
        return None
    rows: list[list[Cell]] = [
        [
            each.text("name"),
            words("passed") if each.flag("passed", default=True) else words("failed"),
            each.text("detail"),
        ]
        for each in made
    ]
    content: list[Child] = []
    if rows:
        content.append(table(words, words("checks"), [words("check"), "", words("detail")], rows))
    if warned:
        content.append(element("h3", words("warnings")))
        content.append(element("ul", *(element("li", text, lang=_OF_RUN) for text in warned)))
    return element("section", element("h2", words("checks"), id="checks"), *content, aria_labelledby="checks")


def environment(words: Words, report: Part) -> Markup:
    """Data, settings and environment."""
    content: list[Child] = [_data(words, report), _settings(words, report), _machine(words, report)]
    return element(
        "section",
        element("h2", words("environment"), id="environment"),
        element("div", *content, class_="beside"),
        aria_labelledby="environment",
    )


def _data(words: Words, report: Part) -> Markup | None:
    data, model = report.part("data"), report.part("model")
    rows: list[list[Cell]] = [[words("network"), model.text("name")]]
    rows += [
        [words(f"data.{key}"), element("code", model.text(key))]
        for key in ("checkpoint", "checkpoint_sha256")
        if key in model
    ]
    rows += [
        [words(f"data.{key}"), data.said(key)]
        for key in ("dataset", "evaluation_dataset", "split", "seed")
        if key in data
    ]
    for key in ("training", "calibration", "evaluation"):
        used = data.part(key)
        if used:
            images = words("data.images", images=grouped(used.number("images")), sources=_few(used.texts("sources")))
            rows.append([words(f"data.{key}"), images])
            rows.append([words("data.indices"), element("code", used.text("indices_sha256"))])
    for file in report.parts("loaded"):
        rows.append([words("data.loaded"), file.text("path")])
        rows.append(["SHA-256", element("code", file.text("sha256"))])
    return table(words, words("data"), ["", ""], rows)


def _few(names: list[str], most: int = 4) -> str:
    more = "" if len(names) <= most else " …"
    return ", ".join(names[:most]) + more


def _settings(words: Words, report: Part) -> Markup | None:
    found = report.part("quantization")
    rows: list[list[Cell]] = [[key, found.said(key)] for key in found if found.said(key)]
    if not rows:
        return None
    return table(words, words("settings"), ["", ""], rows)


def _machine(words: Words, report: Part) -> Markup | None:
    found = report.part("environment")
    rows: list[list[Cell]] = [[key, found.said(key)] for key in found if found.said(key)]
    instructions = found.texts("cpu_instructions") if "cpu_instructions" in found else []
    if instructions:
        rows.append(["cpu_instructions", ", ".join(instructions)])
    versions = found.part("versions")
    rows += [[name, versions.said(name) or "–"] for name in versions]
    return table(words, words("machine"), ["", ""], rows) if rows else None
