"""Every text file that amctq reads: a good one, and how it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from amctq.amct_files.config_file import open_config
from amctq.amct_files.config_json import dump_config
from amctq.amct_files.record_text import dump_record, load_record
from amctq.amct_files.retrain_json import dump_retrain_config
from amctq.choices import Language
from amctq.distributed.hccn import HccnConf
from amctq.distributed.rank_table_json import read_rank_table
from amctq.graph.topology import read_topology
from amctq.json_file import read_json_object
from amctq.quant.default_config import default_config
from amctq.quant.layers import Topology
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.retrain_config import default_retrain_config
from amctq.report_page.page import draw_page
from amctq.report_page.source import report_in
from amctq.services.pinned_sums import read_pins
from amctq.services.qat.request import QatRequest
from amctq.training.history import former_lines
from amctq.training.hyper_parameters import read_hyper_parameters
from amctq.training.snapshot import EpochScore, TrainingState
from tests.amct_files.test_cfg import LEVELS
from tests.distributed.tables import document
from tests.graph.graphs import residual_graph
from tests.training.test_hyper_parameters import SAMPLE

STATE = TrainingState(
    step=5,
    evaluated=5,
    best=EpochScore(epoch=2, metric="top1", figures={"top1": 91.7, "top5": 99.6}),
    last=EpochScore(epoch=5, metric="top1", figures={"top1": 91.0, "top5": 99.0}),
    identity={"seed": 1, "recipe": {"steps": 8}},
    made_on={"cpu": "x"},
)


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A kind of text file.

    Attributes:
        name: of the good file.
        content: gives the good file.
        read: gives a value that two equal files have in common.
    """

    name: str
    content: Callable[[], bytes]
    read: Callable[[Path], Any]


@cache
def topology() -> Topology:
    return read_topology(residual_graph())


def _config() -> bytes:
    return dump_config(replace(default_config(topology()), batch_num=2))


def _record() -> bytes:
    scales = np.asarray([0.01, 0.02], np.float32)
    layers = [
        LayerRecord(name=layer.name, activation=QParams(0.03, -128), weight_scale=scales) for layer in topology().layers
    ]
    return dump_record(QuantRecord(layers=tuple(layers)))


def _history() -> bytes:
    lines: list[dict[str, float]] = []
    for step in range(1, 9):
        lines.append({"step": step, "epoch": step, "loss": 0.5, "learning_rate": 0.1})
        lines.append({"step": step, "epoch": step, "top1": 91.5, "top5": 99.0})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _read_hyper_parameters(path: Path) -> Any:
    found = read_hyper_parameters(path)
    values = dict(found.values)
    values.pop("lr_decay", None)  # a choice, which the command line reads
    output = Path(values.pop("output_dir", "results"))
    QatRequest(ckpt=Path("x.ckpt"), dataset="data", output_dir=output, **values)
    return found.values, found.unused


def _read_addresses(path: Path) -> Any:
    source = HccnConf(path)
    return [(device, source.address(device)) for device in source.devices()]


def _drawn_report() -> bytes:
    values = {"lo": -1.5, "hi": 2.0, "counts": [1, 0, 25, 4], "zeros": 3, "clip": [-1.2, 1.9]}
    report = {
        "schema": 1,
        "command": "ptq",
        "model": {"name": "network"},
        "accuracy": {
            "metric": {"key": "top1", "title": "top-1, %", "unit": "points", "digits": 2},
            "images": 200,
            "float": {"top1": 91.0},
            "int8": {"top1": 91.5},
            "top1_drop": -0.5,
            "top1_drop_95": [-1.87, 0.88],
        },
        "histograms": [{"layer": "conv1", "weight": values, "activation": None}],
        "frontier": [{"bytes": 1000, "expected_drop": 0.5, "measured_drop": None, "chosen": True}],
        "timing": {"seconds": {"export": 0.25}},
    }
    return json.dumps(report, ensure_ascii=False, indent=1).encode()


def _draw(path: Path) -> Any:
    return draw_page(report_in(path.read_bytes(), str(path)), Language.EN)


TEXT_FILES = (
    TextFile(
        name="config.json",
        content=_config,
        read=lambda path: open_config(path).quant_config(topology(), lambda _: None),
    ),
    TextFile(
        name="config", content=_config, read=lambda path: open_config(path).quant_config(topology(), lambda _: None)
    ),
    TextFile(
        name="retrain.json",
        content=lambda: dump_retrain_config(replace(default_retrain_config(topology()), batch_num=2)),
        read=lambda path: open_config(path, retrain=True).retrain_config(topology(), lambda _: None),
    ),
    TextFile(
        name="simple.cfg",
        content=LEVELS.encode,
        read=lambda path: open_config(path).quant_config(topology(), lambda _: None),
    ),
    TextFile(
        name="retrain.cfg",
        content=lambda: (
            b'batch_num: 2\nskip_layers: "end_point"\nretrain_data_quant_config: {\n'
            b"  ulq_quantize: { clip_max_min: { clip_max: 6.0 clip_min: -1.0 } fixed_min: true }\n}\n"
            b"retrain_weight_quant_config: { arq_retrain: { channel_wise: false } }\n"
            b'override_layer_types: {\n  layer_type: "Conv2d"\n'
            b"  retrain_weight_quant_config: { arq_retrain: { channel_wise: false } }\n}\n"
        ),
        read=lambda path: open_config(path, retrain=True).retrain_config(topology(), lambda _: None),
    ),
    TextFile(name="record.txt", content=_record, read=lambda path: dump_record(load_record(path))),
    TextFile(name="retrain_config.py", content=SAMPLE.encode, read=_read_hyper_parameters),
    TextFile(name="history.jsonl", content=_history, read=lambda path: former_lines(path, STATE)),
    TextFile(
        name="table.json",
        content=lambda: json.dumps(document(("10.0.0.1", 2), ("节点 2", 2)), indent=1).encode(),
        read=lambda path: asdict(read_rank_table(path)),
    ),
    TextFile(
        name="hccn.conf",
        content=lambda: "".join(f"address_{device}=192.168.100.{device + 1}\n" for device in range(4)).encode(),
        read=_read_addresses,
    ),
    TextFile(
        name="sums/fetched.sha256",
        content=lambda: "".join(f"{digit * 64}  模型 {digit}.ckpt\n" for digit in "0af").encode(),
        read=lambda path: read_pins(path.parent),
    ),
    TextFile(
        name="report.json",  # of rank 0, and the launch file
        content=lambda: json.dumps({"schema": 1, "int8": {"top1": 91.5}, "files": [None, True]}, indent=2).encode(),
        read=lambda path: read_json_object(path, what="report", option="--output-dir", takes="a report"),
    ),
    TextFile(name="drawn.json", content=_drawn_report, read=_draw),
)
