"""``amctq --help`` against a bare one-command Typer program, whole processes in turns.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 21
BARE = '''import typer

app = typer.Typer()


@app.command()
def hello(name: str, times: int = 1) -> None:
    """Say hello."""
    print(name * times)


app()
'''


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        commands = {
            "bare Typer": [sys.executable, str(bare), "--help"],
            "amctq": [str(Path(sys.executable).with_name("amctq")), "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():
            _seconds(command)  # fills the caches of the file system
        for _ in range(ROUNDS):
            for name, command in commands.items():
                times[name].append(_seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name}: {median * 1000:.0f} ms")
    print(f"ratio: {medians['amctq'] / medians['bare Typer']:.2f}")


if __name__ == "__main__":
    main()
