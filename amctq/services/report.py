"""``amctq report``: draw the page of a report again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from amctq.errors import UsageError
from amctq.files import Artifact, OutputDirectory, writing
from amctq.input_file import read_input
from amctq.progress import OnEvent, Reporter, silent
from amctq.report_page.page import draw_page
from amctq.report_page.source import report_in
from amctq.services.page_language import page_language
from amctq.services.report_request import ReportRequest

_WHAT = "report"


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportResult:
    """A page.

    Attributes:
        request: the request.
        command: whose report it shows.
        language: of the page.
        artifact: the written file.
    """

    request: ReportRequest
    command: str
    language: str
    artifact: Artifact

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON."""
        return {
            "source": str(self.request.source),
            "command": self.command,
            "language": self.language,
            "written": str(self.artifact.path),
        }


def report(request: ReportRequest, on_event: OnEvent = silent) -> ReportResult:
    """Draw the page of a report: the same bytes as the run that wrote it, in the same language.

    Raises:
        UsageError: the page exists.
        InputError: the file is no report, or one of another version.
        WriteError: the page cannot be written.
    """
    reporter = Reporter(on_event)
    language = page_language(request.lang, os.environ)
    with reporter.phase("page"):
        content = read_input(request.source, what=_WHAT, option="REPORT.json")
        shown = report_in(content, str(request.source))
        page = draw_page(shown, language)
    target = request.target
    if target.exists() and request.source.samefile(target):
        message = f"{target} is the report to read"
        raise UsageError(message, hint="give the page another name with --output")
    folder = OutputDirectory(
        target.parent,
        names=(target.name,),
        force=request.force,
        remedy="pass --force to replace it, or give the page another name with --output",
    )
    with folder as output:
        with writing(target):
            output.write(target.name, page)
        (artifact,) = output.publish()
    return ReportResult(request=request, command=shown.text("command"), language=language.value, artifact=artifact)
