"""Where the clips of retraining start."""

from __future__ import annotations

from amct_mindspore.record import read_record


class UlqInitializer:
    """The clips that a calibration record of post-training quantization comes down to."""

    def __init__(self, scale_offset_record: str) -> None:
        self._layers = read_record(scale_offset_record)

    def clips(self, layer: str) -> tuple[float, float]:
        """``clip_max`` and ``clip_min`` of a layer's input."""
        if layer not in self._layers:
            raise ValueError(f"the record has no layer {layer}")
        scale, offset = self._layers[layer]
        return (127 - offset) * scale, (-128 - offset) * scale
