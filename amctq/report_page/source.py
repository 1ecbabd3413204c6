"""The report in the content of a file: report.json, or the JSON object that a command prints with --json."""

from __future__ import annotations

import json
from typing import Any

from amctq.errors import InputError
from amctq.json_file import parse_json_object
from amctq.report_page.part import Part
from amctq.version import __version__

_SCHEMA = 1
_TAKES = "a report.json of amctq, or what it prints with --json"
# The commands whose report has something to show; demo has the report of its ptq.
_COMMANDS = ("ptq", "qat", "analyze", "evaluate")


def report_in(content: bytes, source: str) -> Part:
    """The report.

    Args:
        content: of the file.
        source: what messages call the file.

    Raises:
        InputError: it is no report, or one of another version.
    """
    value = _unwrapped(parse_json_object(content, source, option="REPORT.json", takes=_TAKES))
    if "exit_code" in value:  # what --json prints of a run without a report
        message = f"{source} is of a run that ended with exit {json.dumps(value['exit_code'])[:40]} and has no report"
        raise InputError(message, hint="see its errors, and run the command again")
    command, schema = value.get("command"), value.get("schema")
    if not isinstance(command, str) or "schema" not in value:
        message = f"{source} is no report: it has no {'schema' if isinstance(command, str) else 'command'}"
        raise InputError(message, hint=f"amctq report takes {_TAKES}")
    if schema != _SCHEMA or isinstance(schema, bool):
        message = f"{source} has schema {json.dumps(schema)[:40]}, and amctq {__version__} draws schema {_SCHEMA}"
        raise InputError(message, hint="draw it with the amctq that wrote it, or run the command again")
    if command not in _COMMANDS:
        message = f"{source} is of {command[:40]!r}, and a page is drawn of {', '.join(_COMMANDS)}"
        raise InputError(message, hint=f"amctq report takes {_TAKES}")
    return Part(value, source)


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """The report inside what ``--json`` has printed, and inside what ``demo`` tells."""
    if "exit_code" in value and isinstance(value.get("data"), dict):
        value = value["data"]
    if value.get("command") == "demo" and isinstance(value.get("ptq"), dict):
        value = value["ptq"]
    return value
