"""The small network in the package, trained on generated pictures, and the code that trained it."""

from __future__ import annotations

from pathlib import Path

MODEL = "resnet8"
CHECKPOINT = Path(__file__).with_name("resnet8_synthetic.ckpt")
