"""``report.html``, drawn from the bytes of ``report.json``, so that ``amctq report`` draws the same."""

from __future__ import annotations

import html
import os
import traceback
from typing import TYPE_CHECKING

from amctq.progress import Notice
from amctq.services.page_language import page_language

if TYPE_CHECKING:
    from amctq.choices import Language
    from amctq.services.run.log import RunLog

PAGE = "report.html"


def drawn(report: bytes, lang: Language | None, log: RunLog) -> bytes:
    """The page; where drawing fails, one that says so, with a warning, and with the traceback in the log.

    The files of a run are good whether or not they can be drawn, and a page of a former run must not stay beside them.
    ``amctq report`` fails by the same fault.
    """
    from amctq.report_page.page import draw_page
    from amctq.report_page.source import report_in

    try:
        return draw_page(report_in(report, "report.json"), page_language(lang, os.environ))
    except Exception as error:  # the boundary between a picture and the results of hours
        log(Notice(level="debug", text="".join(traceback.format_exception(error))))
        text = f"{PAGE} could not be drawn: {type(error).__name__}: {error}; please report this with report.json"
        log(Notice(level="warning", text=text))
        return f'<!DOCTYPE html>\n<meta charset="utf-8">\n<title>{PAGE}</title>\n<p>{html.escape(text)}\n'.encode()
