"""Reports to draw: what real runs wrote, and what other commands will add to it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from amctq.choices import Language
from amctq.report_page.page import draw_page
from amctq.report_page.source import report_in

FEW = ("--calib-images", 16, "--eval-images", 200)


def read(path: Path) -> dict[str, Any]:
    report = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(report, dict)
    return report


def drawn(report: dict[str, Any], language: Language = Language.EN) -> str:
    return draw_page(report_in(json.dumps(report).encode(), "report.json"), language).decode()


def analyzed(report: dict[str, Any]) -> dict[str, Any]:
    """The same report with a sensitivity of each of its layers, and a frontier, as a search over layers yields them."""
    full = copy.deepcopy(report)
    names = [layer["name"] for layer in full["quantization"]["layers"]]
    full["sensitivity"] = [
        {
            "layer": name,
            "operator": "Conv2d",
            "weight_bits": 8,
            "elements": 432 * (place + 1),
            "score_drop": None if place == len(names) - 1 else 1.5 / (place + 1),
            "class_changes": len(names) - place,
            "kl": 0.02 / (place + 1),
            "sqnr_db": 12.5 + place,
            "left_in_float": {"sqnr_db": 20.0 + place, "class_changes": 3, "kl": 0.001},
            "output": {"sqnr_db": 30.0, "cosine": 0.999, "weights_only_sqnr_db": 33.0, "accumulated_sqnr_db": None},
            "weights": {"min": -1.0, "max": 1.0, "outlier_ratio": 4.5, "dead_channels": 0},
            "activation": None,
        }
        for place, name in enumerate(names)
    ]
    full["frontier"] = [
        {
            "bytes": 150_000 + 9_000 * place,
            "expected_drop": 3.0 / (place + 1),
            "measured_drop": 3.1 / (place + 1) if place % 4 == 0 else None,
            "chosen": place == 8,
        }
        for place in range(18)
    ]
    return full


def fallen_back(report: dict[str, Any]) -> dict[str, Any]:
    """The same report after a search for layers that fall back."""
    full = copy.deepcopy(report)
    names = [layer["name"] for layer in full["quantization"]["layers"]]
    drops = (1.05, 0.0, 0.3, 0.8, 0.25, 0.4)
    full["fallback"] = {
        "target": 0.3,
        "metric": full["accuracy"]["metric"],
        "samples": 2000,
        "seed": 1,
        "met": True,
        "drop": 0.25,
        "drop_95": [-0.04, 0.54],
        "bits": 8,
        "tries": [
            {
                "layers": layers,
                "in_float": place % 2,
                "drop": drop,
                "drop_95": [drop - 0.29, drop + 0.29],
                "kept": drop <= 0.3,
                "chosen": drop == 0.25,
            }
            for place, (layers, drop) in enumerate(zip((0, 20, 10, 5, 8, 7), drops, strict=True))
        ],
        "layers": {name: "float" if place == 0 else 8 for place, name in enumerate(names[:8])},
        "share_narrow": 0.7384,
    }
    return full
