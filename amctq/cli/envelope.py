"""The JSON object of ``--json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from amctq.json_value import strict_json

if TYPE_CHECKING:
    from amctq.files import Artifact

_SCHEMA = 1


def envelope_line(
    command: str,
    exit_code: int,
    data: Mapping[str, Any],
    errors: Sequence[Mapping[str, Any]],
    artifacts: Sequence[Artifact],
    seconds: float,
) -> str:
    """The object in one line of ASCII, with its line feed.

    Args:
        command: name of the command.
        exit_code: of the process.
        data: what the command has found.
        errors: each with code, message and hint.
        artifacts: the written files.
        seconds: wall time.
    """
    envelope = {
        "schema": _SCHEMA,
        "command": command,
        "status": "failed" if exit_code else "ok",
        "exit_code": exit_code,
        "data": data,
        "errors": list(errors),
        "artifacts": [{"path": str(item.path), "bytes": item.bytes, "sha256": item.sha256} for item in artifacts],
        "duration_s": round(seconds, 3),
    }
    return json.dumps(strict_json(json.loads(json.dumps(envelope, default=str)))) + "\n"
