"""``amctq --help`` against a minimal Typer program with one command; whole processes, in turns.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

import harness

ROUNDS = 21
BARE = '''import typer

app = typer.Typer()


@app.command()
def hello(name: str, times: int = 1) -> None:
    """Say hello."""
    print(name * times)


app()
'''


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        commands: dict[str, list[str | Path]] = {
            "bare Typer": [sys.executable, bare, "--help"],
            "amctq": [harness.AMCTQ, "--help"],
        }
        turns = {name: partial(harness.run_process, command) for name, command in commands.items()}
        found = harness.in_turns(turns, rounds=ROUNDS, warm_up=True)
    medians = {name: statistics.median(run.seconds for run in runs) for name, runs in found.items()}
    for name, median in medians.items():
        print(f"{name}: {median * 1000:.0f} ms")
    print(f"ratio: {medians['amctq'] / medians['bare Typer']:.2f}")


if __name__ == "__main__":
    main()
