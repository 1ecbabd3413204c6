"""Observers: they choose the scale and offset of a tensor from its activations in the calibration.

To add one, write a class that meets the contract of ``Observer``, and enter it in ``OBSERVERS``.
"""

from __future__ import annotations

from amctq.choices import ActAlgo
from amctq.quant.observers.base import NonFiniteError, Observer
from amctq.quant.observers.entropy import EntropyObserver
from amctq.quant.observers.hfmg import HfmgObserver, HfmgSettings
from amctq.quant.observers.ifmr import IfmrObserver, IfmrSettings
from amctq.quant.observers.minmax import MinMaxObserver
from amctq.quant.observers.mse import MseObserver
from amctq.quant.observers.percentile import PercentileObserver, PercentileSettings

OBSERVERS: dict[ActAlgo, type[Observer]] = {
    ActAlgo.IFMR: IfmrObserver,
    ActAlgo.HFMG: HfmgObserver,
    ActAlgo.MINMAX: MinMaxObserver,
    ActAlgo.PERCENTILE: PercentileObserver,
    ActAlgo.MSE: MseObserver,
    ActAlgo.ENTROPY: EntropyObserver,
}

__all__ = [
    "OBSERVERS",
    "EntropyObserver",
    "HfmgObserver",
    "HfmgSettings",
    "IfmrObserver",
    "IfmrSettings",
    "MinMaxObserver",
    "MseObserver",
    "NonFiniteError",
    "Observer",
    "PercentileObserver",
    "PercentileSettings",
]
