"""A page that cannot be drawn does not cost the run its results, and is not passed over either."""

from __future__ import annotations

from amctq.choices import Language
from amctq.progress import Event, Notice
from amctq.services.run.log import RunLog
from amctq.services.run.page import drawn


def test_a_report_that_cannot_be_drawn_is_told() -> None:
    events: list[Event] = []
    log = RunLog(events.append)
    page = drawn(b'{"schema": 1, "command": "ptq", "accuracy": "<b>"}', Language.EN, log).decode()
    assert "could not be drawn: InputError" in page
    warnings = [event.text for event in events if isinstance(event, Notice) and event.level == "warning"]
    assert len(warnings) == 1
    assert "report.json.accuracy: expected an object" in warnings[0]
    assert b"Traceback" in log.content()
