"""Cross-layer equalization (Nagel et al. 2019, "Data-Free Quantization", section 4.1), where it lowers the error.

Two layers with nothing but f between them, f(x / s) = f(x) / s for every s > 0, compute the same with every positive
factor s of each channel between them (eq. 6 to 8):

    W2 f(W1 x + b1)  =  (W2 S) f(S⁻¹ W1 x + S⁻¹ b1)        S = diag(s)

Nagel et al. give both weights the same range r, s = √(r1 / r2) (eq. 11). Where each output channel has a weight scale
of its own, this changes little: what counts then is the range of the activation between, which has one scale. So
factors that bring its channels together are tried too, and those that divide the difficulty between it and the second
weight (Xiao et al. 2023, "SmoothQuant", eq. 4). The factors of the least error are kept.

The error is that of the output of the last layer of a chain, from three sources: rounded weights, Σ (w - ŵ)² E[x²]; the
activation between, step² / 12 for each value that is not 0; each multiplied by the squared weights between its place
and the end. Factors do not change these products. So the error of a chain is a sum in which each pair has its own part,
and pair after pair can lower it until none does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.quant.channel_statistics import Channels, ChannelStatistics
from amctq.quant.folding import FusedParameters
from amctq.quant.numerics import SMALLEST, Float32Array, per_channel, range_qparams

Round = Callable[[Float32Array, NDArray[np.float64]], Float32Array]

_SWEEPS = 10
_LEAST_GAIN = 0.01  # of a pair's error; less is not worth a change
_LARGEST = 1024.0  # factor, and 1 / the smallest
# How far below a cap a channel stays, so that other images than those of the calibration are not cut off either.
_HEADROOM = 1.1
_REACHED = 1 - 1e-6  # of a cap: by rounding, values that reach it may be as much below


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two layers with factors that cancel.

    Attributes:
        first: name of the layer that is divided.
        second: name of the layer that is multiplied, the only one that reads the first.
        between: name of the tensor that has the largest values between them: what a clip yields, where there is one.
        cap: the upper limit of that clip, as 6 of ReLU6; infinite without one.
    """

    first: str
    second: str
    between: str
    cap: float = math.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerQuantizer:
    """How a layer is quantized, as far as its error is predicted.

    Attributes:
        round: what the integers of a weight stand for, given the weight, (C_out, …), and the power of its inputs,
            float64 of shape (groups, d).
        channel_wise: its weight has one scale per output channel.
        symmetric: the range of its input is symmetric.
    """

    round: Round
    channel_wise: bool
    symmetric: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class EqualizedPair:
    """A pair with factors other than 1.

    Attributes:
        pair: the two layers.
        factors: of each channel, float64 of shape (C,).
        error: the pair's predicted error, as a share of what it is without its factors.
    """

    pair: Pair
    factors: Channels
    error: float


class Equalizer:
    """Chooses the factors of pairs.

    Args:
        pairs: in the order of execution.
        fused: by layer, its float parameters.
        inputs: by layer of the pairs, statistics of what it reads in the float network.
        between: by first layer, the statistics of ``Pair.between``.
        quantizers: by layer, how it is quantized.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        fused: Mapping[str, FusedParameters],
        inputs: Mapping[str, ChannelStatistics],
        between: Mapping[str, ChannelStatistics],
        quantizers: Mapping[str, LayerQuantizer],
    ) -> None:
        self._pairs = tuple(pairs)
        self._by_first = {pair.first: pair for pair in pairs}
        self._by_second = {pair.second: pair for pair in pairs}
        self._fused, self._inputs, self._between, self._quantizers = fused, inputs, between, quantizers
        self._factors = {pair: np.ones(len(fused[pair.first].weight)) for pair in pairs}
        self._known_errors: dict[str, tuple[Channels | None, Channels]] = {}

    def run(self) -> tuple[EqualizedPair, ...]:
        """Lower the error of pair after pair until none falls; return the pairs whose factors help."""
        for _ in range(_SWEEPS):
            if not any([self._improve(pair) for pair in self._pairs]):
                break
        for pair in self._pairs:
            if self._share(pair) > 1 - _LEAST_GAIN:
                self._factors[pair] = np.ones_like(self._factors[pair])
        return tuple(
            EqualizedPair(pair=pair, factors=factors, error=self._share(pair))
            for pair, factors in self._factors.items()
            if not np.all(factors == 1)
        )

    def parameters(self, name: str) -> FusedParameters:
        """The parameters of a layer with the factors as they are."""
        weight, bias = self._fused[name].weight, self._fused[name].bias
        if (after := self._after(name)) is None and self._before(name) is None:
            return self._fused[name]
        exact = self._with_inputs(name)
        if after is not None:
            exact = exact / per_channel(after, weight.ndim)
            bias = None if bias is None else (bias / after).astype(np.float32)
        return FusedParameters(weight=exact.astype(np.float32), bias=bias)

    def _before(self, name: str) -> Channels | None:
        return self._factors[self._by_second[name]] if name in self._by_second else None

    def _after(self, name: str) -> Channels | None:
        return self._factors[self._by_first[name]] if name in self._by_first else None

    def _with_inputs(self, name: str) -> NDArray[np.float64]:
        """The weight of a layer with the factors of what it reads."""
        weight = self._fused[name].weight.astype(np.float64)
        before = self._before(name)
        if before is None:
            return weight
        grouped = _grouped(weight, len(before))
        return (grouped * before.reshape(len(grouped), 1, -1, 1)).reshape(weight.shape)

    def _improve(self, pair: Pair) -> bool:
        now = self._factors[pair]
        best, least = now, self._error(pair)
        enough = (1 - _LEAST_GAIN) * least
        for more in self._candidates(pair):
            self._factors[pair] = self._allowed(pair, now * more)
            error = self._error(pair)
            if error < min(least, enough):
                best, least = self._factors[pair], error
        self._factors[pair] = best
        return best is not now

    def _share(self, pair: Pair) -> float:
        """The pair's error, as a share of what it is without its factors."""
        now, error = self._factors[pair], self._error(pair)
        self._factors[pair] = np.ones_like(now)
        without = self._error(pair)
        self._factors[pair] = now
        return error / without if without > 0 else 1.0

    def _candidates(self, pair: Pair) -> Iterator[Channels]:
        """Factors in addition to those that there are."""
        first = np.abs(self.parameters(pair.first).weight).reshape(len(self._factors[pair]), -1).max(axis=1)
        grouped = _grouped(np.abs(self.parameters(pair.second).weight), len(first))
        second = grouped.max(axis=(1, 3)).reshape(-1)
        peak = self._reads(pair.second).peak
        live = (first > 0) & (second > 0) & (peak > 0)
        if not live.any():
            return
        # What cannot be scaled is what the other channels are brought to.
        fixed = live & self._reaches_cap(pair)
        aim = fixed if fixed.any() else live
        r1, r2, r = (np.log(np.where(live, of, 1.0), dtype=np.float64) for of in (first, second, peak))
        for logarithm in ((r1 - r2) / 2, (r - r2) / 2, r, r / 2):
            yield np.where(live, np.exp(logarithm - logarithm[aim].mean()), 1.0)

    def _reaches_cap(self, pair: Pair) -> NDArray[np.bool_]:
        return self._between[pair.first].high >= _REACHED * pair.cap

    def _allowed(self, pair: Pair, factors: Channels) -> Channels:
        """``factors`` within limits, so that no value of the calibration images is cut off at a cap."""
        lowest = np.minimum(_HEADROOM * self._between[pair.first].high / pair.cap, 1.0)
        bounded = np.clip(factors, np.maximum(lowest, 1 / _LARGEST), _LARGEST)
        return np.where(self._reaches_cap(pair), 1.0, bounded)

    def _reads(self, name: str) -> ChannelStatistics:
        before = self._before(name)
        return self._inputs[name] if before is None else self._inputs[name].divided(before)

    def _error(self, pair: Pair) -> float:
        """What the factors of a pair change: the error of both weights, and of the activation between."""
        total = self._weight_error(pair.first) + self._weight_error(pair.second)
        read = self._reads(pair.second)
        step = range_qparams(
            float(read.low.min()),
            float(read.high.max()),
            symmetric=self._quantizers[pair.second].symmetric,
            smallest=SMALLEST,
        ).scale
        # A value far below a step becomes 0.
        return total + float(self._gain(pair.second) @ np.minimum(read.active * step**2 / 12, read.power))

    def _gain(self, name: str) -> Channels:
        """What the squared error of each channel that a layer reads is multiplied with, up to the chain's end."""
        weight = self.parameters(name).weight
        grouped = np.square(_grouped(weight, len(self._inputs[name].power)), dtype=np.float64)
        outputs = self._counts(name).reshape(len(grouped), -1)
        gain: Channels = np.einsum("goik,go->gi", grouped, outputs).reshape(-1)
        return gain

    def _counts(self, name: str) -> Channels:
        """The same of each channel that a layer yields; where a ReLU yields 0, an error is lost."""
        pair = self._by_first.get(name)
        if pair is None:
            return np.ones(len(self._fused[name].weight))
        return self._inputs[pair.second].active * self._gain(pair.second)

    def _weight_error(self, name: str) -> float:
        return float(self._counts(name) @ self._row_errors(name))

    def _row_errors(self, name: str) -> Channels:
        """Σ (w - ŵ)² E[x²] of each output channel."""
        before, after, quantizer = self._before(name), self._after(name), self._quantizers[name]
        if not quantizer.channel_wise:
            return self._rounded(name, self.parameters(name).weight)
        # Each channel has its own scale, so that dividing it changes nothing but the unit.
        known = self._known_errors.get(name)
        if known is None or known[0] is not before:
            known = before, self._rounded(name, self._with_inputs(name).astype(np.float32))
            self._known_errors[name] = known
        return known[1] if after is None else known[1] / np.square(after)

    def _rounded(self, name: str, weight: Float32Array) -> Channels:
        power = self._reads(name).power
        grouped = _grouped(weight, len(power))
        groups, _, channels, taps = grouped.shape
        by_input = np.repeat(power.reshape(groups, channels), taps, axis=1)
        error = _grouped(weight - self._quantizers[name].round(weight, by_input), len(power)).astype(np.float64)
        squares = np.square(error).reshape(groups, -1, channels * taps)
        errors: Channels = (squares @ by_input[:, :, None]).reshape(-1)
        return errors


def _grouped(weight: NDArray[np.floating[Any]], channels: int) -> NDArray[np.floating[Any]]:
    """A weight (C_out, C_in / groups, …) that reads ``channels``, as (groups, C_out / groups, C_in / groups, taps)."""
    groups = channels // weight.shape[1]
    return weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
