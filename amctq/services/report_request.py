"""The request of ``amctq report``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from amctq.choices import Language
from amctq.services.option import LANG, OUTPUT, Option, Request
from amctq.services.request import FORCE


@dataclass(frozen=True, kw_only=True)
class ReportRequest(Request):
    """The request of ``amctq report``.

    Attributes:
        source: a report.json, or what a command prints with ``--json``.
        output: the page to write; None means the source with the suffix ``.html``.
        lang: None means the language of the environment.
        force: replace the page.
    """

    source: Annotated[
        Path, Option(positional=True, metavar="REPORT.json", help="A report.json, or the saved output of --json.")
    ]
    output: Annotated[
        Path | None,
        Option(OUTPUT, "Page to write.  [default: beside the report, with .html]", short="-o", metavar="FILE.html"),
    ] = None
    lang: Annotated[Language | None, LANG] = None
    force: Annotated[bool, FORCE] = False

    @property
    def target(self) -> Path:
        """The page to write."""
        return self.output or self.source.with_suffix(".html")
