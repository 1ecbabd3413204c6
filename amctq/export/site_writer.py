"""Quantizers of the sites of a placement: QuantizeLinear behind a tensor, DequantizeLinear in front of its readers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from amctq.choices import ActType, Placement
from amctq.export.integer_operators import ZERO_POINT, zero_point
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations
from amctq.graph.rewrite import GraphWriter
from amctq.graph.value_bounds import UNBOUNDED, Bounds
from amctq.quant.layers import QuantizableLayer


class SiteWriter(GraphWriter):
    """Keeps the names of the integers and of the dequantized copy of each tensor.

    Args:
        graph: the float network.
        layers: the layers that are quantized.
        activations: the quantized tensors with their scales and offsets.
        act_type: integer type of the activations.
    """

    def __init__(
        self,
        graph: FloatGraph,
        layers: Iterable[QuantizableLayer],
        activations: PlacedActivations,
        act_type: ActType,
    ) -> None:
        super().__init__(graph, layers)
        self._plan, self._qparams, self._act_type = activations.plan, activations.qparams, act_type
        # With placement ascend, a tensor may have two sites; nodes that are no layers then read the float tensor.
        self._sites: dict[str, list[int]] = {}
        for index, site in enumerate(self._plan.sites):
            if site.written:
                self._sites.setdefault(site.tensor, []).append(index)
        self._site_of = {name: index for index, site in enumerate(self._plan.sites) for name in site.layers}
        self._scales: list[list[str]] = [[] for _ in self._qparams]
        self._integers: dict[tuple[int, str], str] = {}
        self._dequantized: dict[tuple[int, str], str] = {}
        self._by_channel: dict[tuple[int, str, int], str] = {}
        self._shared: dict[str, int] = {}  # by tensor, the site that all its readers use

    def _quantize(
        self, tensor: str, source: str | None = None, factor: float = 1.0, limits: Bounds = UNBOUNDED
    ) -> None:
        """Add the quantizers of a float tensor that was just written.

        Args:
            tensor: the tensor of the float graph.
            source: what is quantized in its place.
            factor: by how much the scale of ``source`` is larger.
            limits: what the integers are cut off at, in values of ``tensor``.
        """
        for index in self._sites.get(tensor, ()):
            site, qparams = self._plan.sites[index], self._qparams[index]
            name = f"{site.layers[0]}.input" if site.layers else tensor
            zero = zero_point(qparams, self._act_type)
            self._scales[index] = [
                self.initializer(f"{name}.scale", np.asarray(qparams.scale, np.float32)),
                self.shared(ZERO_POINT, zero),
            ]
            scale = self._scales[index]
            if factor != 1.0:
                scale = [
                    self.initializer(f"{name}.sum.scale", np.asarray(qparams.scale * factor, np.float32)),
                    scale[1],
                ]
            cut = limits != UNBOUNDED
            whole = f"{name}.uncut.q" if cut else f"{name}.q"
            integers = self.node("QuantizeLinear", whole, [source or tensor, *scale], whole)
            if cut:
                kind = np.iinfo(zero.dtype)
                ends = np.clip(np.rint(np.asarray(limits) / qparams.scale) + int(zero), kind.min, kind.max)
                cuts = [
                    self.initializer(f"{name}.{end}", np.asarray(value).astype(zero.dtype))
                    for end, value in zip(("lowest", "highest"), ends, strict=True)
                ]
                integers = self.node("Clip", f"{name}.cut", [integers, *cuts], f"{name}.q")
            self._integers[index, tensor] = integers
            if self._plan.placement is Placement.ORT:
                self._shared[tensor] = index

    def _dequantize(self, site: int, tensor: str) -> str:
        if (site, tensor) not in self._dequantized:
            self._dequantized[site, tensor] = self._dequantize_as(site, self._integers[site, tensor])
        return self._dequantized[site, tensor]

    def _dequantize_as(self, site: int, integers: str) -> str:
        name = integers.removesuffix(".q")
        return self.node("DequantizeLinear", f"{name}.dq", [integers, *self._scales[site]], f"{name}.dq")

    def _dequantize_by_channel(self, site: int, tensor: str, channels: int) -> str:
        """The same numbers by a DequantizeLinear whose scale stands there once for each channel."""
        if (site, tensor, channels) not in self._by_channel:
            integers, qparams = self._integers[site, tensor], self._qparams[site]
            name = f"{integers.removesuffix('.q')}.channels"
            scale = self.initializer(f"{name}.scale", np.full(channels, qparams.scale, np.float32))
            zero = self.shared(ZERO_POINT, np.full(channels, zero_point(qparams, self._act_type)))
            self._by_channel[site, tensor, channels] = self.node(
                "DequantizeLinear", f"{name}.dq", [integers, scale, zero], f"{name}.dq", axis=1
            )
        return self._by_channel[site, tensor, channels]
