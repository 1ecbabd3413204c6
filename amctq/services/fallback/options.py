"""Options of ``ptq --auto``, and what they contradict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.errors import UsageError
from amctq.services.option import QUANTIZATION, RUN, Option

if TYPE_CHECKING:
    from amctq.services.ptq.request import PtqRequest

AUTO = Option(
    QUANTIZATION,
    "Let layers fall back to wider weights, else to float: few, so that training images lose at most --max-drop.",
    after="float_head",
)
RESUME = Option(RUN, "Continue the tries of an interrupted --auto in --output-dir.", after="tuning_images")


def refuse_contradictions(request: PtqRequest) -> None:
    """Refuse what leaves nothing to try, and a target that nobody has said.

    Raises:
        UsageError: one of the two.
    """
    if request.resume and not request.auto:
        message = "--resume without --auto: only its tries can be continued"
        raise UsageError(message, hint="leave it out; qat has a --resume of its own")
    if not request.auto:
        return
    if request.max_drop is None:
        message = "--auto without --max-drop: nothing says how good the network must be"
        raise UsageError(message, hint="add --max-drop POINTS")
    given = {
        "--record": (request.record is not None, "a record says how every layer is quantized"),
        "--equalize": (request.equalize, "equalized layers belong together, and none can be left in float alone"),
        "--export mslite": (
            ExportFormat.MSLITE in request.resolved_export,
            "MindSpore Lite's converter quantizes all layers itself",
        ),
    }
    for option, (contradicts, reason) in given.items():
        if contradicts:
            message = f"--auto and {option}: {reason}"
            raise UsageError(message, hint="leave one of the two out")
    if request.resume and request.force:
        message = "--resume and --force: the one continues a run, the other begins anew"
        raise UsageError(message, hint="leave one of the two out")
