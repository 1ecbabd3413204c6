"""The end of a run: publish its files together, or none of them if a check failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from amctq.errors import CheckError
from amctq.services.run.page import PAGE, drawn
from amctq.services.run.plan import LOG, REPORT
from amctq.services.run.report import report_bytes

if TYPE_CHECKING:
    from amctq.files import Artifact, OutputDirectory
    from amctq.services.run.log import RunLog
    from amctq.services.run.result import RunResult


def publish(
    result: RunResult, contents: Mapping[str, bytes], output: OutputDirectory, log: RunLog, *, hint: str
) -> tuple[Artifact, ...]:
    """Put the staged files in place, with the report and the log.

    Args:
        result: the result of the run.
        contents: further files by name; a file of the back end replaces one of the same name.
        output: where the files are staged.
        log: the log of the run.
        hint: the next step if a check has failed.

    Raises:
        CheckError: a check has failed; nothing is published.
        WriteError: a file cannot be written.
    """
    report = result.data()
    failed = [check for check in result.checks if not check.passed]
    if failed:
        message = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        raise CheckError(message, hint=failed[0].hint or hint, data=report)
    for name, content in {**contents, **result.quantized.own_files}.items():
        output.write(name, content)
    encoded = report_bytes(report)
    output.write(REPORT, encoded)
    output.write(PAGE, drawn(encoded, result.plan.request.lang, log))
    output.write(LOG, log.content())
    return output.publish()
