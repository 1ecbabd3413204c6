"""The Markdown tables of ``networks.py``, from its results."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Results = Mapping[tuple[str, str], dict[str, Any]]
_REFUSED = {2, 3, 4}  # before work, with a reason
_POINTS, _DECIBEL = 2.0, 0.5


def show(modules: Sequence[dict[str, Any]], results: Results) -> None:
    """Print a table of the modules and one of the speeds, as far as there are results."""
    models = [entry["model"] for entry in modules if "model" in entry]
    models += sorted({model for model, step in results if step == "ptq"} - set(models))
    models = [model for model in models if any(found_model == model for found_model, _ in results)]
    if modules and any((model, "ptq") in results for model in models):
        _networks(models, results)
        _summary(modules, models, results)
    timed = {model: found for (model, step), found in results.items() if step == "speed"}
    if timed:
        _speeds(timed)


def unexplained(ptq: Mapping[str, Any], compare: Mapping[str, Any]) -> list[str]:
    """Layers whose weights are float in the INT8 file, and for which the report gives no reason."""
    named = {layer["name"] for layer in ptq.get("left_in_float") or []}
    found = compare.get("amctq", {}).get("float_weights", [])
    return [
        layer["weight"]
        for layer in found
        if not named & {layer["weight"], layer["weight"].removesuffix(".weight"), layer["node"]}
    ]


def _networks(models: Sequence[str], results: Results) -> None:
    print(
        "| module | network | pixels | million parameters | ptq | seconds | layers INT8 / float "
        "| float without a reason | same class, % | quantize_static | SQNR, dB | quantize_static "
        "| float, images/s | amctq | quantize_static | mindir | qat |"
    )
    print("|" + "---|" * 17)
    for model in models:
        steps = {step: found for (of, step), found in results.items() if of == model}
        ptq, compare = steps.get("ptq", {}), steps.get("compare", {})
        entry = next(iter(steps.values()))
        own, peer = compare.get("amctq", {}), compare.get("quantize_static", {})
        in_float = len(own["float_weights"]) if "float_weights" in own else len(ptq.get("left_in_float") or [])
        cells = [
            *(entry["module"], model, entry["size"], f"{entry['params'] / 1e6:.1f}"),
            *(_code(steps, "ptq"), _number(ptq.get("seconds"), 0)),
            f"{ptq['quantized']} / {in_float}" if "quantized" in ptq else "",
            len(unexplained(ptq, compare)) if own else "",
            *(_number(each.get("agreement"), 1) for each in (own, peer)),
            *(_number(each.get("sqnr"), 1) for each in (own, peer)),
            *(_number(each.get("images_per_second"), 1) for each in (compare.get("float", {}), own, peer)),
            *(_code(steps, "mindir"), _code(steps, "qat")),
        ]
        print(f"| {' | '.join(map(str, cells))} |")


def _summary(modules: Sequence[dict[str, Any]], models: Sequence[str], results: Results) -> None:
    runs = [entry for entry in modules if "model" in entry]
    print(f"\nMindSpore runs {len(runs)} of {len(modules)} modules.")
    for entry in modules:
        if "error" in entry:
            print(f"- {entry['module']} does not run: {entry['error'][:160]}")
    for step, what in (("ptq", "amctq ptq"), ("mindir", "--export mindir"), ("qat", "qat --max-steps 3")):
        found = [results[model, step] for model in models if (model, step) in results]
        if found:
            ended = sum(each["exit_code"] == 0 for each in found)
            refused = sum(each["exit_code"] in _REFUSED for each in found)
            print(f"\n{what}: {ended} of {len(found)} end, {refused} are refused.")
        for each in found:
            if each["exit_code"]:
                print(f"- {each['model']}: exit {each['exit_code']}, {each['message']}")
    pairs = [
        (model, results[model, "compare"])
        for model in models
        if all(key in results.get((model, "compare"), {}) for key in ("amctq", "quantize_static"))
    ]
    both = [(model, found) for model, found in pairs if "sqnr" in found["quantize_static"]]
    if both:
        points, decibel = (
            [found["amctq"][key] - found["quantize_static"][key] for _, found in both] for key in ("agreement", "sqnr")
        )
        print(
            f"\nAgainst quantize_static on {len(both)} networks, mean: "
            f"{statistics.mean(points):+.2f} points of agreement, {statistics.mean(decibel):+.2f} dB of SQNR."
        )
        for (model, _), lost, noise in zip(both, points, decibel, strict=True):
            if lost < -_POINTS or noise < -_DECIBEL:
                print(f"- {model}: {lost:+.1f} points, {noise:+.2f} dB")
    for model in models:
        steps = {step: found for (of, step), found in results.items() if of == model}
        reasons = Counter(layer["reason"] for layer in steps.get("ptq", {}).get("left_in_float") or [])
        for reason, count in reasons.most_common():
            print(f"- {model}: {count} in float, {reason}")
        for name in unexplained(steps.get("ptq", {}), steps.get("compare", {})):
            print(f"- {model}: {name} is float without a reason")


def _speeds(timed: Mapping[str, dict[str, Any]]) -> None:
    print(
        "\n| network | batch | float, images/s | quantize_static | its fastest variant | amctq | ratio | to float "
        "| layers in float: amctq, quantize_static | fastest file of any operators |"
    )
    print("|" + "---|" * 10)
    for model, found in timed.items():
        speed = found.get("images_per_second")
        if not speed:
            print(f"| {model} | exit {found['exit_code']}: {found['message']} |" + " |" * 8)
            continue
        own, before = speed["amctq"], speed["float"]
        fastest, any_fastest = found["fastest"], found["fastest_of_all"]
        peer = speed.get(fastest, float("nan"))
        print(
            f"| {model} | {found['batch']} | {before:.1f} | {peer:.1f} | {fastest} | {own:.1f} "
            f"| {own / peer:.3f} | {own / before:.2f} "
            f"| {found['float_layers']['amctq']}, {found['float_layers'].get(fastest)} of {found['layers']} "
            f"| {speed.get(any_fastest, float('nan')):.1f}: {any_fastest} |"
        )
    for model, found in timed.items():
        for name, error in found.get("errors", {}).items():
            print(f"- {model}: quantize_static, {name}: {error}")
        for name, times in found.get("profile", {}).items():
            slowest = ", ".join(f"{operator} {time:.1f}" for operator, time in times.items())
            print(f"\n{model}, {name}, ms of a batch: {slowest}")


def _code(steps: Mapping[str, dict[str, Any]], step: str) -> str:
    if step not in steps:
        return ""
    code = steps[step]["exit_code"]
    return "yes" if code == 0 else f"exit {code}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
