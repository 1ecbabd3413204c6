"""``report.html``, drawn from the bytes of ``report.json``, so that ``amctq report`` draws the same."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

from amctq.progress import Notice
from amctq.services.page_language import page_language

if TYPE_CHECKING:
    from amctq.choices import Language
    from amctq.services.run.log import RunLog

PAGE = "report.html"


def drawn(report: bytes, lang: Language | None, log: RunLog) -> dict[str, bytes]:
    """The page by its name; nothing, and a warning, where drawing fails.

    The files of a run are good whether or not a page of them can be drawn. What failed stands in the log, and
    ``amctq report`` fails by it.
    """
    from amctq.report_page.page import draw_page
    from amctq.report_page.source import report_in

    try:
        return {PAGE: draw_page(report_in(report, PAGE), page_language(lang, os.environ))}
    except Exception as error:  # the boundary between a picture and the results of hours
        log(Notice(level="debug", text="".join(traceback.format_exception(error))))
        text = f"{PAGE} could not be drawn: {type(error).__name__}: {error}; please report this with report.json"
        log(Notice(level="warning", text=text))
        return {}
