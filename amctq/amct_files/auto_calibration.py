"""What AMCT's accuracy_based_auto_calibration is told, in a configuration: ``--auto`` does the same here.

AMCT has these two as arguments of its function, each with one value (docs/en/amct.md). How much may be lost is code
there, an evaluator's ``metric_eval``.
"""

from __future__ import annotations

from collections.abc import Callable

from amctq.json_file import JsonReader

KEY = "accuracy_based_auto_calibration"
_VALUES = {"strategy": "BinarySearch", "sensitivity": "CosineSimilarity"}
_ANSWER = (
    f"{KEY}: here --auto --max-drop POINTS does it, with POINTS for what AMCT's metric_eval allows; layers are ranked "
    "by the KL divergence of the output, not by CosineSimilarity, and after BinarySearch single ones are given back"
)


def check(document: JsonReader, warn: Callable[[str], None]) -> None:
    """Accept AMCT's values, and say what does the same here.

    Args:
        document: the keys of the network.
        warn: called with the answer, where the file has the key.

    Raises:
        InputError: another value.
    """
    if KEY not in document.value:
        return
    told = document.inside(KEY, tuple(_VALUES))
    for key, value in _VALUES.items():
        told.choice(key, (value,), value, f"AMCT has {value} only")
    warn(_ANSWER)
