"""Observers: what turns the activations seen while calibrating into a scale and an offset.

The set is open: an observer is a class that meets ``Observer`` and stands in ``OBSERVERS`` under its name.
"""

from __future__ import annotations

from amctq.choices import ActAlgo
from amctq.quant.observers.base import NonFiniteError, Observer
from amctq.quant.observers.ifmr import IfmrObserver, IfmrSettings
from amctq.quant.observers.minmax import MinMaxObserver

OBSERVERS: dict[ActAlgo, type[Observer]] = {
    ActAlgo.IFMR: IfmrObserver,
    ActAlgo.MINMAX: MinMaxObserver,
}

__all__ = ["OBSERVERS", "IfmrObserver", "IfmrSettings", "MinMaxObserver", "NonFiniteError", "Observer"]
