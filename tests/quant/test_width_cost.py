"""What a layer costs at widths at which it was not measured."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.quant.width_cost import costs_of

# Of rounding: a quarter for each bit more.
ERRORS = {bits: 4.0**-bits for bits in (2, 3, 4, 6, 8)}


def test_what_was_measured_stays() -> None:
    found = costs_of(ERRORS, {2: 0.5, 4: 0.01})
    assert (found[2], found[4]) == (0.5, 0.01)


def test_between_two_widths_it_is_a_power_of_the_error() -> None:
    found = costs_of(ERRORS, {2: 0.5, 4: 0.01})
    assert found[3] == pytest.approx(np.sqrt(0.5 * 0.01))


def test_beyond_them_it_is_proportional_to_the_error() -> None:
    found = costs_of(ERRORS, {2: 0.5, 4: 0.01})
    assert found[6] == pytest.approx(0.01 / 16)
    assert found[8] == pytest.approx(0.01 / 256)
    assert costs_of(ERRORS, {6: 1e-4})[2] == pytest.approx(1e-4 * 256)


def test_a_wider_weight_never_costs_more() -> None:
    found = costs_of(ERRORS, {2: 0.1, 3: 0.02, 4: 0.03})  # few samples may say so
    assert [found[bits] for bits in (2, 3, 4)] == [0.1, 0.02, 0.02]
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.parametrize("nothing", [{2: 0.0, 4: 0.0}, {2: 0.1, 4: 0.0}])
def test_a_layer_without_errors_costs_nothing(nothing: dict[int, float]) -> None:
    found = costs_of(dict.fromkeys(ERRORS, 0.0), nothing)
    assert all(np.isfinite(cost) and cost >= 0 for cost in found.values())
    assert found[8] == 0
