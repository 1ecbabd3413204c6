"""The smallest model of every module of mindcv that MindSpore itself can run, each looked at in a process of its own.

``networks.py`` starts this file: ``modules`` lists the modules, ``count MODULE`` the sizes of its models,
``model MODEL`` that of one, and ``forward MODEL PIXELS`` runs it. The last line of stdout is the answer, as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness

# Where mindcv does not say it, or says it of weights that it no longer has.
PIXELS = (224, 256, 240, 384)
# If so many of a module's smallest models do not run, the larger ones do not either.
_TRIED = 3
_SECONDS = 600


def census() -> Iterator[dict[str, Any]]:
    """By module: ``model``, ``size`` and ``params`` of the smallest one that runs; else ``error``."""
    modules = _ask("modules")
    for module in modules["modules"]:
        yield {"module": module, **_smallest(module)}


def entry_of(model: str) -> dict[str, Any]:
    """As an entry of the census, for any model of mindcv; it is not run."""
    found = _ask("model", model)
    if "error" in found:
        sys.exit(f"{model}: {found['error']}")
    return found


def pixels(model: str) -> list[int]:
    """The input sizes to try, its own first."""
    from mindcv.models.registry import get_pretrained_cfg

    own = get_pretrained_cfg(model).get("input_size")
    return list(dict.fromkeys([*([own[-1]] if own else []), *PIXELS]))


def _smallest(module: str) -> dict[str, Any]:
    counted = _ask("count", module)
    if "models" not in counted:
        return counted
    models = sorted((found for found in counted["models"] if "params" in found), key=lambda found: found["params"])
    if not models:
        return {"error": counted["models"][0]["error"]}
    errors = []
    for found in models[:_TRIED]:
        for size in found["pixels"]:
            ran = _ask("forward", found["model"], str(size))
            if "error" not in ran:
                return {"model": found["model"], "size": size, "params": found["params"]}
            errors.append(f"{found['model']} at {size}: {ran['error']}")
    return {"error": errors[0]}


def _ask(*arguments: str) -> dict[str, Any]:
    with Path(os.devnull).open("w") as log:
        process = harness.run_process([sys.executable, __file__, *arguments], check=False, log=log, limit=_SECONDS)
    lines = process.stdout.splitlines()
    if process.code or not lines:
        return {"error": f"the process ended with {process.code} after {process.seconds:.0f} s"}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def _count(module: str) -> Iterator[dict[str, Any]]:
    import mindcv

    for model in sorted(mindcv.list_models(module=module)):
        try:
            yield {"model": model, "params": _parameters(model), "pixels": pixels(model)}
        except Exception as error:
            yield {"model": model, "error": _line(error)}


def _parameters(model: str) -> int:
    import mindcv
    from mindspore.nn.utils import no_init_parameters

    try:
        with no_init_parameters():  # the large ones would take minutes
            cell = mindcv.create_model(model)
    except RuntimeError:  # its constructor reads its parameters
        cell = mindcv.create_model(model)
    return int(sum(parameter.size for parameter in cell.get_parameters()))


def _model(model: str) -> dict[str, Any]:
    import mindcv
    from mindcv.models.registry import is_model_in_modules, list_modules

    if not mindcv.is_model(model):
        return {"error": "mindcv has no such model"}
    module = next(name for name in list_modules() if is_model_in_modules(model, [name]))
    return {"module": module, "model": model, "size": pixels(model)[0], "params": _parameters(model)}


def _forward(model: str, size: int) -> dict[str, Any]:
    import mindcv
    import mindspore
    import numpy as np

    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    images = np.random.default_rng(0).standard_normal((2, 3, size, size)).astype(np.float32)
    try:
        output = mindcv.create_model(model).set_train(False)(mindspore.Tensor(images))
        return {"shape": list(output.asnumpy().shape)}
    except Exception as error:
        return {"error": _line(error)}


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", choices=["modules", "count", "model", "forward"])
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    os.environ.setdefault("GLOG_v", "4")
    answer: dict[str, Any]
    if options.question == "modules":
        from mindcv.models.registry import list_modules

        answer = {"modules": list_modules()}
    elif options.question == "count":
        answer = {"models": list(_count(options.names[0]))}
    elif options.question == "model":
        answer = _model(options.names[0])
    else:
        answer = _forward(options.names[0], int(options.names[1]))
    print(f"\n{json.dumps(answer)}", flush=True)
    os._exit(0)  # MindSpore's cells complain when the interpreter takes them down


if __name__ == "__main__":
    main()
