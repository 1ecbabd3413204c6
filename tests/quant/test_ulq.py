"""ULQ and ARQ as they train: forward, gradients, and ranges that training has turned upside down."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from amctq.choices import WEIGHT_BITS, ArqRule
from amctq.quant import numerics
from amctq.quant.numerics import EPSILON, QParams
from amctq.quant.ulq import Clips, arq_retrain, arq_retrain_scale, clips_of, ulq, ulq_gradients
from amctq.quant.weights import arq_scale, quantize_weight
from tests.command import Shared
from tests.golden import golden

ends = st.floats(-20, 20, width=32)


def _clips(high: float, low: float, *, fixed_min: bool = False) -> Clips:
    return Clips(high=high, low=low, fixed_min=fixed_min)


@given(ends, ends, st.booleans())
def test_it_computes_what_the_record_says(high: float, low: float, fixed_min: bool) -> None:
    clips = _clips(high, low, fixed_min=fixed_min)
    x = np.random.default_rng(1).normal(0, 8, 500).astype(np.float32)
    qparams = clips.qparams
    scale = np.asarray(qparams.scale, np.float32)
    expected = numerics.dequantize(numerics.quantize(x, qparams.scale, qparams.offset), scale, qparams.offset)
    assert np.array_equal(ulq(x, clips), expected)
    assert qparams.scale >= EPSILON
    assert -128 <= qparams.offset <= 127


@given(st.floats(2**-13, 100, width=32), st.integers(-128, 127), st.booleans())
def test_training_starts_where_the_record_ends(scale: float, offset: int, fixed_min: bool) -> None:
    back = clips_of(QParams(scale, offset), fixed_min=fixed_min).qparams
    if fixed_min:  # what lies above zero is left
        assert back.offset == -128
        assert back.scale == pytest.approx(max(scale * (127 - offset) / 255, EPSILON), rel=1e-6)
    else:
        assert back.offset == offset
        assert back.scale == pytest.approx(scale, rel=1e-6)


def _reference(x: NDArray[Any], high: float, low: float, g: NDArray[Any]) -> tuple[NDArray[Any], float, float]:
    """AMCT's PyTorch code (ulq_retrain_impl.py) in float64."""
    x, g = x.astype(np.float64), g.astype(np.float64)
    scale = (high - low) / 255
    offset = np.rint(-128 - low / scale)
    upper, lower = x > scale * (127 - offset), x < scale * (-128 - offset)
    z = np.where(upper, high, np.where(lower, low, x)) / scale
    e = (np.rint(z) - z) / 255
    return g * ~(upper | lower), float(((e + upper) * g).sum()), float(((lower - e) * g).sum())


@pytest.mark.parametrize(("high", "low"), [(2.0, -1.0), (3.3, -0.017), (0.4, -5.0), (1.7, 0.0)])
def test_gradients_are_amcts(high: float, low: float) -> None:
    random = np.random.default_rng(3)
    x, g = (random.normal(0, 1.5, 20_000).astype(np.float32) for _ in range(2))
    found = ulq_gradients(x, _clips(high, low), g)
    dx, to_max, to_min = _reference(x, float(np.float32(high)), float(np.float32(low)), g)
    assert np.array_equal(found.x, dx)
    # A float32 quotient next to a tie may round to the other side, which is worth 1/255 of one element.
    assert found.clip_max == pytest.approx(to_max, abs=0.02)
    assert found.clip_min == pytest.approx(to_min, abs=0.02)
    assert abs(to_max) + abs(to_min) > 1


@pytest.mark.parametrize("case", range(5))
def test_amcts_own_vectors(case: int, shared: Shared) -> None:
    """Case 2 has symmetric clips, which lie halfway between two steps."""
    with np.load(golden(shared, "ulq_vectors.npz")) as file:
        vector = {key.split("_", 1)[1]: file[key] for key in file.files if key.startswith(f"{case}_")}
    high, low = map(float, vector["clips"].ravel())
    clips = _clips(high, low, fixed_min=bool(vector["fixed"]))
    found = ulq_gradients(vector["x"], clips, vector["g"])
    assert np.array_equal(ulq(vector["x"], clips), vector["y"])
    assert np.array_equal(found.x, vector["dx"])
    assert (clips.qparams.scale, clips.qparams.offset) == (float(vector["scale"]), int(vector["offset"]))
    assert found.clip_max == pytest.approx(float(vector["dmax"]), abs=1e-6)
    assert found.clip_min == pytest.approx(float(vector["dmin"]), abs=1e-6)


def test_values_on_the_ends_of_the_range_lie_inside() -> None:
    clips = _clips(1.27, -1.28)
    step, first = clips.scale, clips.steps_below_zero
    low, high = step * first, step * (first + np.float32(255))
    x = np.asarray([np.nextafter(low, np.float32(-9)), low, high, np.nextafter(high, np.float32(9))], np.float32)
    assert ulq_gradients(x, clips, np.ones(4, np.float32)).x.tolist() == [0, 1, 1, 0]
    assert ulq(x, clips).tolist() == [low, low, high, high]


@pytest.mark.parametrize("fixed_min", [False, True])
@pytest.mark.parametrize(("high", "low"), [(-1.0, -0.5), (-3.0, 0.5), (0.0, 0.0), (-0.2, 2.0), (0.0, 3.0)])
def test_a_range_upside_down_is_narrow_and_its_gradient_leads_out(high: float, low: float, fixed_min: bool) -> None:
    clips = _clips(high, low, fixed_min=fixed_min)
    x = np.full(100, 2.0, np.float32)
    assert np.isfinite(ulq(x, clips)).all()
    assert ulq(x, clips).max() < 1e-2  # nothing is left of what lies above
    # The loss falls where y grows: so must clip_max.
    assert ulq_gradients(x, clips, np.full(100, -1.0, np.float32)).clip_max < -50


def test_a_range_that_the_narrowest_replaces_says_so() -> None:
    assert _clips(1e-6, 0.0).is_widened
    assert _clips(-2.0, -1.0).is_widened
    assert not _clips(255 * EPSILON, 0.0).is_widened


def test_a_fixed_end_ignores_the_parameter() -> None:
    x = np.linspace(-1, 3, 100).astype(np.float32)
    assert np.array_equal(ulq(x, _clips(2.0, -7.0, fixed_min=True)), ulq(x, _clips(2.0, 0.0, fixed_min=True)))
    assert ulq(x, _clips(2.0, 0.0, fixed_min=True)).min() == 0


def test_nothing_is_clipped_in_a_wide_range() -> None:
    random = np.random.default_rng(5)
    x, g = (random.uniform(-1, 1, 1000).astype(np.float32) for _ in range(2))
    found = ulq_gradients(x, _clips(4.0, -4.0), g)
    assert np.array_equal(found.x, g)
    assert found.clip_max == pytest.approx(-found.clip_min)  # a wider range is a coarser one, whichever end moves


@pytest.mark.parametrize("bits", WEIGHT_BITS)
@pytest.mark.parametrize("channel_wise", [True, False])
def test_weights_are_rounded_and_never_clipped(bits: int, channel_wise: bool) -> None:
    weight = np.random.default_rng(bits).normal(0, 0.1, (6, 4, 3, 3)).astype(np.float32)
    weight[2] = 0  # a channel of zeros
    weight[3, 0, 0, 0], weight[3, 1, 0, 0] = -1.0, 0.9999  # where AMCT's own rule clips the highest
    scale = arq_retrain_scale(weight, channel_wise=channel_wise, bits=bits)
    assert np.array_equal(scale, arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=ArqRule.ASCEND))
    fake = arq_retrain(weight, channel_wise=channel_wise, bits=bits)
    assert np.array_equal(fake, quantize_weight(weight, scale, bits=bits).dequantized())
    steps = scale.reshape(-1, 1, 1, 1)
    assert (np.abs(fake - weight) <= 0.5001 * steps).all()
    assert not fake[2].any()
    if channel_wise:
        assert scale[2] == 1.0


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("channel_wise", [True, False])
def test_channels_that_batch_norm_turns_around_keep_their_integers(bits: int, channel_wise: bool) -> None:
    random = np.random.default_rng(bits)
    weight = random.normal(0, 0.1, (6, 40)).astype(np.float32)
    gamma = np.asarray([0.5, -0.5, -2.0, 1.0, -0.25, 4.0], np.float32)
    scale = arq_retrain_scale(weight, channel_wise=channel_wise, bits=bits, gamma=gamma)
    fake = arq_retrain(weight, channel_wise=channel_wise, bits=bits, gamma=gamma)
    folded = fake * gamma[:, None]
    # Powers of two: folding rounds nothing.
    again = quantize_weight(folded, np.broadcast_to(scale, 6) * np.abs(gamma), bits=bits).dequantized()
    assert np.array_equal(again, folded)
    if channel_wise:
        expected = arq_scale(weight * gamma[:, None], channel_wise=True, bits=bits, rule=ArqRule.ASCEND)
        assert np.array_equal(scale * np.abs(gamma), expected)
