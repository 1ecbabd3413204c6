"""Options of ``ptq`` and ``analyze`` about measuring layers, and what they contradict."""

from __future__ import annotations

from dataclasses import replace

from amctq.choices import Target
from amctq.errors import UsageError
from amctq.export.targets import why_not
from amctq.services.option import RUN, Option

ANALYZE = Option(RUN, "Measure what each layer costs too, as amctq analyze does.", after="simulate")
TUNING_IMAGES = Option(
    RUN, "How many training images measure the layers, none of which calibrates.  [default: 64]", min=1
)
TUNING_WITH_ANALYZE = replace(
    TUNING_IMAGES,
    help="How many training images measure layers (--analyze), widths (--weight-bits auto) and tries (--auto), none of "
    "which calibrates.  [default: 64; --weight-bits auto: 256, with --max-drop 2,000; --auto: 2,000]",
    after="analyze",
)


def refuse_idle_analysis(
    *, analyze: bool, tunes: bool, tuning_images: int | None, equalize: bool, target: Target
) -> None:
    """Refuse images that nothing is measured on, and layers that cannot be measured alone.

    Raises:
        UsageError: one of the two.
    """
    if tuning_images is not None and not tunes:
        options = "--analyze, --auto or --weight-bits auto"
        message = f"--tuning-images {tuning_images} without {options}: nothing is measured on them"
        raise UsageError(message, hint="add --analyze or --auto, or leave it out")
    if analyze and equalize:
        message = "--analyze and --equalize: equalized layers belong together, and none can be measured alone"
        raise UsageError(message, hint="leave one of the two out")
    reason = why_not(target, "analyze", analyze) if analyze else None
    if reason is not None:
        message = f"--target {target.value}: {reason}, so that its layers cannot be measured"
        raise UsageError(message, hint="choose another --target")
