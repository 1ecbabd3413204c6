"""Options are made from the fields of a request: each field is one, and its limits hold wherever a request is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

import amctq
from amctq.cli.app import COMMANDS
from amctq.cli.app import app as whole_app
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output
from amctq.errors import InputError, UsageError
from amctq.services.option import ABOVE_0, INPUT, RUN, Option, Request

# Fields that are no option of that name, each with the reason.
NO_OPTIONS = {
    "AnalyzeRequest.analyze": "it does nothing else",
    "AnalyzeRequest.equalize": "equalized layers cannot be quantized alone",
    "AnalyzeRequest.eval_images": "test images measure nothing",
    **{
        f"AnalyzeRequest.{field}": "it writes no network"
        for field in (
            *("export", "lang", "soc_version", "max_drop", "max_size", "simulate", "weight_storage", "isa", "auto"),
            "resume",
        )
    },
    "LaunchRequest.qat": "its options are those of qat",
    "LaunchRequest.grace": "for tests",
    "QatRequest.auto": "a training gives accuracy back by itself",
    "QatRequest.unused_hyper_parameters": "comes from --hyper-parameters",
    "RankTableRequest.merge": "made of --merge and of the files",
}
NEEDED: dict[str, dict[str, Any]] = {
    "analyze": {"dataset": "data", "ckpt": "float.ckpt"},
    "ptq": {"dataset": "data", "ckpt": "float.ckpt"},
    "qat": {"dataset": "data", "ckpt": "float.ckpt"},
    "evaluate": {"dataset": "data", "ckpt": "float.ckpt"},
    "launch-distributed": {"dataset": "data", "ckpt": "float.ckpt", "workers": 2},
}


def _requests(request: type[Request]) -> list[type[Request]]:
    inner = [kind for kind, _ in request.options().values() if isinstance(kind, type) and issubclass(kind, Request)]
    return [request, *inner]


def _limits() -> list[Any]:
    """Of every command, every option of its own with a lowest or highest value, and a value just outside."""
    cases = []
    for name, each in COMMANDS.items():
        for field, (kind, option) in each.request().options().items():
            if option is None or option.read is not None:
                continue
            step = 1 if kind in (int, int | None) else 0.01
            wrong = [] if option.min is None else [(option.min - step, f"at least {option.min:g}")]
            wrong += [] if option.max is None else [(option.max + step, f"at most {option.max:g}")]
            cases += [pytest.param(name, field, *case, id=f"{name}-{field}") for case in wrong]
    return cases


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        whole_app(arguments, prog_name="amctq")
    return int(end.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_field_is_an_option(name: str) -> None:
    offered = {parameter.name: parameter for parameter in COMMANDS[name].typer_command().params}
    for request in _requests(COMMANDS[name].request()):
        for field in dataclasses.fields(request):
            if f"{request.__name__}.{field.name}" not in NO_OPTIONS:
                assert field.name in offered, f"{request.__name__}.{field.name}"
                envvar = offered[field.name].envvar
                assert isinstance(envvar, str)
                assert envvar.startswith("AMCTQ_")


@pytest.mark.parametrize("name", COMMANDS)
def test_no_two_options_share_a_name(name: str) -> None:
    names = [word for parameter in COMMANDS[name].typer_command().params for word in parameter.opts]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "field", "value", "expected"), _limits())
def test_a_limit_holds_for_library_and_command_line(
    name: str, field: str, value: float, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = dict(NEEDED.get(name, {}))
    words = [f"--{key}={text}" for key, text in needed.items()]
    code, said = _run([name, *words, f"--{field.replace('_', '-')}={value:g}"], capsys)
    assert code == UsageError.exit_code
    assert "Input should be" in said
    if name == "launch-distributed":
        needed = {"qat": amctq.QatRequest(dataset="data", ckpt=Path("float.ckpt"))}
    if name == "convert-checkpoint":  # arguments, not options
        needed = {"source": Path("weights.pth"), "target": Path("weights.ckpt")}
    request: Any = COMMANDS[name].request()
    with pytest.raises(UsageError, match=f"expected {expected}$"):
        request(**{**needed, field: value})


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--lr-init", "-1", "--lr-init -1: expected a number from 0 up"),
        ("--lr-max", "inf", "--lr-max inf: expected a number from 0 up"),
        ("--lr-max", "0", "--lr-max 0: expected a number above 0"),
        ("--momentum", "1.5", "--momentum 1.5: expected a number from 0 to 1"),
        ("--distill-temperature", "nan", "--distill-temperature nan: expected a number above 0"),
        ("--max-drop", "nan", "--max-drop nan: expected a finite number"),
        ("--weight-bits", "5", "--weight-bits 5: expected one of 8, 7, 6, 4, 3, 2"),
        ("--mean", "50,50,50", "--mean 50,50,50: expected three numbers from -1 to 2, for pixels in 0…1"),
        ("--std", "0.2,0.2,1e-6", "--std 0.2,0.2,1e-06: expected three numbers from 0.001 to 10, for pixels in 0…1"),
        ("--mean", "0,0,nan", "--mean (0.0, 0.0, nan): expected three finite numbers"),
        ("--std", "1,1,0", "--std (1.0, 1.0, 0.0): expected three numbers above 0"),
    ],
)
def test_limits_that_help_does_not_show_are_the_same(
    option: str, value: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = _run(["qat", "--dataset=data", "--ckpt=float.ckpt", f"{option}={value}"], capsys)
    assert (code, said.splitlines()[0]) == (UsageError.exit_code, f"error: {expected}")
    numbers = tuple(map(float, value.split(",")))
    given: Any = numbers if len(numbers) > 1 else int(value) if option == "--weight-bits" else numbers[0]
    with pytest.raises(UsageError) as refused:
        amctq.QatRequest(dataset="data", ckpt=Path("float.ckpt"), **{option[2:].replace("-", "_"): given})
    assert refused.value.message == expected


def _pair(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("+")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner(Request):
    speed: Annotated[float, Option(RUN, limits=(ABOVE_0,))] = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer(Request):
    inner: Inner
    last: Annotated[str, Option(INPUT, after="first")] = "z"
    first: Annotated[str | Path | None, Option(INPUT, aliases=("erstes_wort",))] = None
    noise: Annotated[bool, Option(RUN)] = True
    choice: Annotated[bool | None, Option(RUN)] = None
    names: Annotated[tuple[str, ...], Option(RUN, name="name")] = ()
    pairs: Annotated[tuple[int, ...], Option(RUN, read=_pair, repeatable=True)] = ()
    words: Annotated[tuple[int, ...], Option(RUN, read=_pair)] = ()
    silent: int = 3


def _asked(*arguments: str) -> Outer:
    """The request that a command line of ``Outer`` makes."""
    asked = []

    @command(lambda: Outer)
    def work(make: Callable[..., Outer], output: Output, *, more: Annotated[int, Option(RUN)] = 0) -> CommandResult:
        asked.append(make(silent=more))
        return CommandResult(data={}, tables=list)

    work.typer_command().main([*arguments], standalone_mode=False)
    return asked[0]


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ([], {}),
        (["--first", "a"], {"first": "a"}),
        (["--erstes_wort=a"], {"first": "a"}),
        (["--erstes-wort", "a"], {"first": "a"}),
        (["--no-noise"], {"noise": False}),
        (["--choice"], {"choice": True}),
        (["--no-choice"], {"choice": False}),
        (["--name", "a", "--name", "b"], {"names": ("a", "b")}),
        (["--pairs", "1+2", "--pairs", "2+3"], {"pairs": (1, 2, 3)}),
        (["--words", "1+2"], {"words": (1, 2)}),
        (["--speed", "2"], {"inner": Inner(speed=2.0)}),
        (["--more", "7"], {"silent": 7}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_request_is_what_was_typed(arguments: list[str], changed: dict[str, Any]) -> None:
    assert _asked(*arguments) == dataclasses.replace(Outer(inner=Inner(), silent=0), **changed)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NAME", "a b"), ("NO_NOISE", "1"), ("CHOICE", "1"), ("SPEED", "3")):
        monkeypatch.setenv(f"AMCTQ_{name}", value)
    assert _asked() == Outer(inner=Inner(speed=3.0), noise=False, choice=True, names=("a", "b"), silent=0)


def test_text_that_cannot_be_read_names_its_option() -> None:
    with pytest.raises(typer.BadParameter, match="invalid literal") as refused:
        _asked("--pairs", "1+x")
    assert "'--pairs'" in refused.value.format_message()


def test_help_shows_an_option_after_the_one_it_names() -> None:
    work: Callable[..., CommandResult] = lambda make, output: CommandResult(data={}, tables=list)  # noqa: E731
    names = [item.name for item in command(lambda: Outer)(work).parameters()]
    assert names[:3] == ["speed", "first", "last"]


def test_a_subclass_may_have_types_that_only_type_checkers_know() -> None:
    given: Any = {"__annotations__": {"further": "NowhereDefined | None"}, "further": None, "__module__": __name__}
    request: Any = dataclasses.dataclass(frozen=True, kw_only=True)(type("Mine", (amctq.PtqRequest,), given))
    assert request(dataset="data", ckpt=Path("float.ckpt")).batch_size == 32
    with pytest.raises(UsageError, match="--batch-size 0: expected at least 1"):
        request(dataset="data", ckpt=Path("float.ckpt"), batch_size=0)


def test_files_come_from_the_command_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMCTQ_FILES", "elsewhere.json")
    context = COMMANDS["rank-table"].typer_command().make_context("rank-table", [])
    assert not context.params["files"]


def test_a_worker_without_a_launcher_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "launch.json").write_text("{}")
    for file, expected in (("nowhere.json", "cannot read the launch file"), ("launch.json", "has no such worker")):
        code, said = _run(["worker", str(tmp_path / file)], capsys)
        assert code == InputError.exit_code
        assert expected in said
