"""completions/ is generated from the app, and says what the app says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import amctq

COMPLETIONS = Path(__file__).resolve().parents[1] / "completions"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_the_generated_one(shell: str) -> None:
    generated = amctq(env={"_AMCTQ_COMPLETE": f"source_{shell}"})
    assert generated.code == 0
    assert (COMPLETIONS / f"amctq.{shell}").read_text() == generated.stdout


def _complete(line: str) -> list[str]:
    words = line.split(" ")
    done = amctq(env={"_AMCTQ_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)})
    return done.stdout.split()


def test_commands_are_offered() -> None:
    assert set(_complete("amctq p")) == {"prepare-cifar", "ptq"}
    assert _complete("amctq rank-table --vis") == ["--visible-devices"]


def test_options_are_offered() -> None:
    assert "--calib-images" in _complete("amctq ptq --cal")


def test_models_are_offered() -> None:
    assert "resnet20" in _complete("amctq ptq --model resn")
    assert _complete("amctq ptq --model vgg") == []
