"""What ``--config`` names: AMCT's JSON, or its simplified ``.cfg``; the content shows which. It is read once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.amct_files import config_json, retrain_json
from amctq.amct_files.cfg_text import CfgReader, parse_cfg
from amctq.amct_files.config_cfg import cfg_layers
from amctq.amct_files.config_json import load_config
from amctq.amct_files.config_layers import LayerReaders, Layout, batch_num, check_precision, checked_top, json_layers
from amctq.amct_files.config_pools import pool_readers
from amctq.amct_files.retrain_json import load_retrain_config
from amctq.choices import WEIGHT_BITS
from amctq.input_file import read_input, text_of
from amctq.json_file import JsonReader, parse_json_object
from amctq.quant.config import QuantConfig
from amctq.quant.layers import Topology
from amctq.quant.retrain_config import RetrainConfig

Warn = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A configuration that has been read and parsed; its layers are checked when there is a network.

    Attributes:
        path: of the file.
        content: of the file, what was parsed.
        document: the parsed content.
        batch_num: how many batches calibrate, where the file says so.
        narrowest_weights: the fewest bits that it names for weights.
    """

    path: Path
    content: bytes
    document: JsonReader
    batch_num: int | None
    narrowest_weights: int

    @property
    def is_cfg(self) -> bool:
        """Whether it is a ``.cfg``, which says things for many layers at once and means those of AMCT's."""
        return isinstance(self.document, CfgReader)

    @property
    def named(self) -> frozenset[str]:
        """What the JSON file has entries for; nothing of a ``.cfg``."""
        return frozenset() if self.is_cfg else frozenset(self.document.value)

    def quant_config(self, topology: Topology, warn: Warn) -> QuantConfig:
        """What post-training quantization does to a network.

        Args:
            topology: of the network.
            warn: called with each correction, in words.

        Raises:
            InputError: the file is not what it must be; the message names the key, or line and field.
        """
        pools = pool_readers(self.document, config_json.LAYOUT, topology, warn)
        return load_config(*self._layers(config_json.LAYOUT, topology, warn), topology, pools, warn)

    def retrain_config(self, topology: Topology, warn: Warn) -> RetrainConfig:
        """What retraining does to a network, as ``quant_config``; the file was opened with ``retrain=True``.

        Raises:
            InputError: as there.
        """
        return load_retrain_config(*self._layers(retrain_json.LAYOUT, topology, warn), topology)

    def _layers(self, layout: Layout, topology: Topology, warn: Warn) -> tuple[JsonReader, Iterator[LayerReaders]]:
        if isinstance(self.document, CfgReader):
            check_precision(self.document)
            return self.document, cfg_layers(self.document, layout, topology, warn)
        document = checked_top(self.document, layout, topology)
        return document, json_layers(document, layout, topology)


def open_config(path: Path, *, retrain: bool = False) -> ConfigFile:
    """Read a file, before there is a network to check its layers against.

    A name that ends in .json means JSON. Else JSON is what begins with a brace, which protobuf text cannot.

    Args:
        path: the file.
        retrain: it is a configuration of retraining.

    Raises:
        InputError: it cannot be read, is neither of the two, or its batch_num is no number from 1 up.
    """
    layout = retrain_json.LAYOUT if retrain else config_json.LAYOUT
    content = read_input(path, what="configuration", option="--config")
    text = text_of(content, str(path))
    if path.suffix.lower() == ".json" or text.lstrip().startswith("{"):
        value = parse_json_object(content, str(path), option="--config", takes=f"AMCT's {layout.file}")
        document = JsonReader(value, f"{path}: ")
    else:
        document = parse_cfg(text, path, layout.schema)
    return ConfigFile(
        path=path,
        content=content,
        document=document,
        batch_num=batch_num(document),
        narrowest_weights=_narrowest_weights(document, layout),
    )


def _narrowest_weights(document: JsonReader, layout: Layout) -> int:
    if isinstance(document, CfgReader):
        said = [str(bits) for bits in _quant_bits(document.value)]
    else:
        layers = (value for value in document.value.values() if isinstance(value, dict))
        weights = (layer.get(layout.weight) for layer in layers if layer.get(layout.switch) is not False)
        said = [str(weight.get(layout.width)) for weight in weights if isinstance(weight, dict)]
    widths = [bits for bits in WEIGHT_BITS for text in said if text.removeprefix("INT") == str(bits)]
    return min(widths, default=max(WEIGHT_BITS))


def _quant_bits(message: Mapping[str, Any]) -> Iterator[int]:
    """What a message of a ``.cfg`` and those inside it say of the width of weights."""
    for key, value in message.items():
        if key == "quant_bits":
            yield value
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Mapping):
                yield from _quant_bits(inner)
