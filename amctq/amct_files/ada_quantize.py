"""AMCT's ``ada_quantize``, which is AdaRound: amctq reads and checks what it says, and rounds by GPTQ instead.

AdaRound (Nagel et al. 2020) trains for each weight whether it is rounded up or down, so that the layer's output on the
calibration images changes least. GPTQ minimises the same error, and finds its weights without training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from amctq.json_file import JsonReader

NAME = "ada_quantize"
KEYS = ("num_iteration", "reg_param", "beta_range", "warm_start")
# AMCT's defaults.
BETA_RANGE = (20.0, 2.0)
_ITERATIONS, _REGULARIZATION, _WARM_START = 10_000, 0.01, 0.2


def check_parameters(reader: JsonReader) -> None:
    """Refuse what AMCT refuses.

    Args:
        reader: what a file says of a layer's weight.

    Raises:
        InputError: a parameter is out of AMCT's range.
    """
    iterations = reader.take("num_iteration", int, _ITERATIONS)
    if iterations < 0:
        reader.fail("num_iteration", f"found {iterations}", "expected at least 0")
    for key, default in (("reg_param", _REGULARIZATION), ("warm_start", _WARM_START)):
        found = reader.take(key, float, default)
        if not 0 < found < 1:
            reader.fail(key, f"found {found}", "expected more than 0 and less than 1")
    beta = reader.take("beta_range", list, list(BETA_RANGE))
    numbers = [value for value in beta if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(beta) != 2 or len(numbers) != 2 or not math.inf > beta[0] > beta[1] > 0:
        reader.fail("beta_range", f"found {beta}", "expected two numbers, first > last > 0")


def answer(names: Sequence[str], *, every: bool) -> str:
    """What amctq does instead, in words.

    Args:
        names: of the layers whose weights AdaRound was to round.
        every: they are all layers that are quantized.
    """
    layers = f"all {len(names)} layers" if every and len(names) > 1 else ", ".join(names)
    return (
        f"--config: {NAME} of {layers} is answered by GPTQ, which makes the same error of the layer's output small "
        f"without training; {', '.join(KEYS[:-1])} and {KEYS[-1]} are not used"
    )
