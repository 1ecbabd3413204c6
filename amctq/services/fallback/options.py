"""Options of ``ptq --auto``, and what they contradict."""

from __future__ import annotations

from amctq.errors import UsageError
from amctq.services.option import QUANTIZATION, RUN, Option

AUTO = Option(
    QUANTIZATION,
    "Let layers fall back to wider weights, else to float: few, so that training images lose at most --max-drop.",
    after="float_head",
)
RESUME = Option(RUN, "Continue the tries of an interrupted --auto in --output-dir.", after="tuning_images")


def refuse_contradictions(
    *,
    auto: bool,
    widths: bool,
    resume: bool,
    force: bool,
    max_drop: float | None,
    record: bool,
    equalize: bool,
) -> None:
    """Refuse what leaves nothing to try, and a target that nobody has said.

    Raises:
        UsageError: one of the two.
    """
    if resume and not auto:
        message = "--resume without --auto: only its tries can be continued"
        raise UsageError(message, hint="leave it out; qat has a --resume of its own")
    if not auto:
        return
    if max_drop is None:
        message = "--auto without --max-drop: nothing says how good the network must be"
        raise UsageError(message, hint="add --max-drop POINTS")
    contradicting = {
        "--auto and --record: a record says how every layer is quantized": record,
        "--auto and --weight-bits auto: each of them keeps --max-drop by its own choice": widths,
        "--auto and --equalize: equalized layers belong together, and none can be left in float alone": equalize,
        "--resume and --force: the one continues a run, the other begins anew": resume and force,
    }
    for message, contradicts in contradicting.items():
        if contradicts:
            raise UsageError(message, hint="leave one of the two out")
