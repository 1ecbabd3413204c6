"""The smallest model of every module of mindcv through amctq: a Markdown table, from a network to its INT8 file.

    python benchmarks/networks.py --data ../shared/data/imagenet_sample --work zoo
    python benchmarks/networks.py --work zoo --table
    python benchmarks/networks.py --data ../shared/data/imagenet_sample --work zoo --speed regnet_x_200mf vit_b_32_224

Every step runs in a process of its own and adds a line to WORK/results.jsonl; what stands there is not measured again
unless --force is given. The steps: ``ptq`` quantizes, ``compare`` measures its file and the one of onnxruntime's
quantize_static, ``mindir`` is ptq --export mindir, ``qat`` trains three steps, ``speed`` times every variant of
quantize_static. Before them networks_prepare.py writes the model file and the checkpoint, once. The modules and their
smallest models are looked up at first, in WORK/census.jsonl.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import harness
import networks_census
import networks_table
from networks_prepare import CALIBRATION, CHECKPOINT, CLASSES, EVALUATION, INT8_FILE, MODEL_FILE

STEPS = ("ptq", "compare", "mindir", "qat", "speed")
SPEED_MODELS = ("mobilenet_v2_100", "regnet_x_200mf", "efficientnet_b0", "convnext_tiny", "vit_b_32_224")
_ROLES = "roles"
_SMALL_STEP = "1e-6"  # steps of the usual size move random weights far, and three steps do not bring them back
# Accuracy is the matter of ptq and compare, not of mindir and qat.
_FEW = ("--calib-images", "16", "--eval-images", "16", "--batch-size", "8")


def census(work: Path) -> list[dict[str, Any]]:
    """The modules with their smallest models, each looked up once."""
    file = work / "census.jsonl"
    if not file.exists():
        partial = file.with_suffix(".partial")
        with partial.open("w") as lines:
            for found in networks_census.census():
                print(f"{found['module']}: {found.get('model') or found['error']}", file=sys.stderr, flush=True)
                lines.write(json.dumps(found) + "\n")
        partial.rename(file)
    return read_lines(file)


def read_lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def results(work: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """The newest result of every model and step."""
    return {(found["model"], found["step"]): found for found in read_lines(work / "results.jsonl")}


def give_roles(work: Path, data: Path) -> None:
    """An image folder with ``train`` and ``val`` for qat, both ``data``: what three steps learn is not looked at."""
    folder = work / _ROLES
    folder.mkdir(exist_ok=True)
    for role in ("train", "val"):
        if not (folder / role).is_symlink():
            (folder / role).symlink_to(data.resolve(), target_is_directory=True)


def commands(options: argparse.Namespace, model: str, size: int) -> dict[str, list[str | Path]]:
    """The command line of every step."""
    folder, here = options.work / model, Path(__file__).parent
    amctq = (sys.executable, "-m", "amctq")
    network = (
        *("--model", f"{folder / MODEL_FILE}:create", "--ckpt", folder / CHECKPOINT, "--num-classes", str(CLASSES)),
        *("--image-size", str(size), "--allow-poor-float", "--json", "--force"),
    )
    dataset = ("--dataset", options.data)
    own = ("--size", str(size), "--data", options.data, "--folder", folder)
    images = ("--calib-images", str(CALIBRATION), "--eval-images", str(EVALUATION))
    timing = ("--batch", str(options.batch), "--rounds", str(options.rounds))
    file = folder / "ptq" / INT8_FILE
    return {
        "prepare": [sys.executable, here / "networks_prepare.py", "--model", model, *own],
        "ptq": [*amctq, "ptq", *network, *dataset, *images, "--output-dir", folder / "ptq", *options.more],
        "compare": [
            *(sys.executable, here / "networks_compare.py", *own, *timing),
            *(("--file", file) if file.exists() else ()),
        ],
        "mindir": [
            *(*amctq, "ptq", *network, *dataset, *_FEW, "--export", "mindir", "--output-dir", folder / "mindir"),
        ],
        "qat": [
            *(*amctq, "qat", *network, "--dataset", options.work / _ROLES, *_FEW, "--output-dir", folder / "qat"),
            *("--max-steps", "3", "--lr-init", _SMALL_STEP, "--lr-max", _SMALL_STEP),
        ],
        "speed": [sys.executable, here / "networks_speed.py", *own, *timing, "--", *options.more],
    }


def run_step(options: argparse.Namespace, entry: dict[str, Any], step: str) -> dict[str, Any]:
    """One step of one network; what it printed on stderr is in WORK/MODEL/STEP.log."""
    folder: Path = options.work / entry["model"]
    folder.mkdir(parents=True, exist_ok=True)
    if step == "ptq":
        shutil.rmtree(folder / "ptq", ignore_errors=True)  # an older file must not be compared
    log = folder / f"{step}.log"
    with log.open("w") as stderr:
        command = commands(options, entry["model"], entry["size"])[step]
        process = harness.run_process(command, check=False, log=stderr, limit=options.limit)
    if step in {"mindir", "qat"}:
        shutil.rmtree(folder / step, ignore_errors=True)  # checkpoints of a large network
    found = {
        **{key: entry[key] for key in ("module", "model", "size", "params")},
        "step": step,
        "exit_code": process.code,
        "seconds": round(process.seconds, 1),
        "cpu_seconds": round(process.cpu_seconds, 1),
        "peak_bytes": process.peak_bytes,
    }
    if process.code < 0:
        killed = process.seconds >= options.limit
        message = f"killed after {options.limit:.0f} s" if killed else f"signal {-process.code}"
        return {**found, "message": message}
    lines = [line for line in process.stdout.splitlines() if line.strip()]
    if not lines or (process.code and step in {"prepare", "compare", "speed"}):
        last = log.read_text().strip().splitlines()[-1:]
        return {**found, "message": " ".join(last)}
    return {**found, **_answer(step, lines[-1])}


def _answer(step: str, line: str) -> dict[str, Any]:
    if step == "prepare":
        return {"message": line}
    answer: dict[str, Any] = json.loads(line)
    if step in {"compare", "speed"}:
        return answer
    found: dict[str, Any] = {"message": "; ".join(error["message"] for error in answer["errors"])}
    data = answer["data"]
    if data and data.get("quantization"):
        found["quantized"] = len(data["quantization"]["layers"])
        found["left_in_float"] = data["quantization"]["left_in_float"]
        found |= {key: data.get(key) for key in ("checks", "simulation", "timing")}
    return found


def measure(options: argparse.Namespace, entries: Iterable[dict[str, Any]]) -> None:
    """Run what is missing in WORK/results.jsonl."""
    for entry in entries:
        model, done = entry["model"], results(options.work)
        steps = [step for step in options.steps if options.force or (model, step) not in done]
        if steps and not (options.work / model / CHECKPOINT).exists():
            steps = ["prepare", *steps]
        for step in steps:
            found = run_step(options, entry, step)
            with (options.work / "results.jsonl").open("a") as lines:
                lines.write(json.dumps(found) + "\n")
            message = f"exit {found['exit_code']}, {found['seconds']:.0f} s {found.get('message', '')}"
            print(f"{model} {step}: {message}", file=sys.stderr, flush=True)
            if step == "prepare" and found["exit_code"]:
                break


def chosen(entries: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """The entries of the census that run, or of these modules or models; another model of mindcv is looked up."""
    runs = [entry for entry in entries if "error" not in entry]
    if not names:
        return runs
    known = {entry[key]: entry for key in ("module", "model") for entry in runs}
    return [known.get(name) or networks_census.entry_of(name) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the networks and the results")
    parser.add_argument("--data", type=Path, help="image folder with one folder for each of the 1,000 classes")
    parser.add_argument("--models", nargs="+", default=[], help="modules or models; all modules by default")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS[:2])
    parser.add_argument("--force", action="store_true", help="measure again what has a result")
    parser.add_argument("--limit", type=float, default=1800, help="seconds that a step may take")
    parser.add_argument("--table", action="store_true", help="print the tables of the results, measure nothing")
    parser.add_argument(
        "--speed", nargs="*", metavar="MODEL", help="the same as --steps speed --models MODEL …; without a model, five"
    )
    parser.add_argument("--batch", type=int, default=8, help="images at once where speed is measured")
    parser.add_argument("--rounds", type=int, default=9, help="turns of every file where speed is measured")
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    if options.data is None and not options.table:
        parser.error("--data is needed to measure")
    if options.speed is not None:
        options.steps, options.models = ["speed"], options.speed or SPEED_MODELS
    options.work = options.work.resolve()  # amctq runs in the same folder, but what it writes names its inputs
    options.work.mkdir(parents=True, exist_ok=True)
    modules = [] if options.speed is not None else census(options.work)
    if not options.table:
        give_roles(options.work, options.data)
        measure(options, chosen(modules, options.models))
    networks_table.show(modules, results(options.work))


if __name__ == "__main__":
    main()
