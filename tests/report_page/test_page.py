"""The page: a function of the report, of which only one part shows what varies; and what no report may do to it."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from amctq.choices import Language
from amctq.errors import InputError
from tests.command import Shared
from tests.report_page.reports import FEW, analyzed, drawn, fallen_back, read
from tests.runs import Runs

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    1e-320,
    "text",
    [],
    {},
    [None],
    [{}],
    ["1"],
    [1e300, -1e300],
    {"a": 1},
)
VARIES = re.compile(r'<section[^>]*class="varies".*?</section>', re.DOTALL)


@pytest.fixture(scope="session")
def report(shared: Shared, runs: Runs) -> dict[str, Any]:
    """The report of a real run."""
    return read(runs.finished("ptq", *shared.network("resnet20"), *FEW, "--lang", "en")[1] / "report.json")


def test_only_one_part_shows_what_varies(report: dict[str, Any]) -> None:
    other = copy.deepcopy(report)
    seconds = other["timing"]["seconds"]
    other["timing"]["seconds"] = {name: 3 * value + 1 for name, value in seconds.items()}
    other["timing"]["images_per_second"]["int8"] *= 2
    one, two = drawn(report), drawn(other)
    assert one != two
    assert VARIES.sub("", one) == VARIES.sub("", two)
    assert len(VARIES.findall(one)) == 1


def test_the_verdict_comes_first_and_every_layer_has_its_histograms(report: dict[str, Any]) -> None:
    page = drawn(report)
    assert page.index('id="verdict"') < page.index('id="measured"') < page.index('id="timing"')
    low, high = report["accuracy"]["top1_drop_95"]
    assert f"95 % interval {low:.2f} to {high:.2f}" in page
    layers = [layer["name"] for layer in report["quantization"]["layers"]]
    assert [row["layer"] for row in report["histograms"]] == layers
    assert page.count('<details class="layer">') == len(layers)
    assert page.count('<path class="counts"') == 2 * len(layers)
    for sample in report["worst"]:
        assert sample["thumbnail"] in page


def test_classes_have_the_names_of_the_dataset(report: dict[str, Any]) -> None:
    names = [row["name"] for row in report["classes"]["per_class"]]
    assert names[:4] == ["airplane", "automobile", "bird", "cat"]
    page = drawn(report)
    assert "cat (3)" in page
    assert f"target {names[report['worst'][0]['target']]} (" in page


def test_sensitivity_is_drawn_where_it_is_known(report: dict[str, Any]) -> None:
    assert 'id="sensitivity"' not in drawn(report)
    full = analyzed(report)
    page = drawn(full)
    section = page[page.index('id="sensitivity"') : page.index('id="frontier"')]
    assert section.count('class="bar"') == len(full["sensitivity"])
    assert page.index(full["sensitivity"][0]["layer"]) < page.index(full["sensitivity"][1]["layer"])
    assert page.count('class="chosen"') == 1


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (Language.EN, ("Allowed was a drop of 0.30 points; the choice loses 0.25 points", "good enough", "too much")),
        (Language.ZH, ("允许下降 0.30 个百分点；所选方案在调优样本上下降 0.25 个百分点", "达到目标", "下降过多")),
    ],
)
def test_fallback_shows_every_try_and_the_final_figure(
    report: dict[str, Any], language: Language, said: tuple[str, str, str]
) -> None:
    assert 'id="fallback"' not in drawn(report, language)
    full = fallen_back(report)
    section = _section(drawn(full, language), "fallback")
    lead, kept, much = said
    assert lead in section
    assert (section.count(kept), section.count(much)) == (3, 3)
    assert section.count('class="point"') == section.count('class="interval"') == 6
    assert section.count('class="chosen"') == 1
    for each in full["fallback"]["tries"]:
        low, high = each["drop_95"]
        assert f"{low:.2f} … {high:.2f}" in section
    low, high = full["accuracy"]["top1_drop_95"]
    assert f"{low:.2f} … {high:.2f}" in section  # of the evaluation samples
    assert f'data-raw="{full["accuracy"]["top1_drop"]:.10g}"' in section
    assert "73.8 %" in section
    for name in full["fallback"]["layers"]:
        assert name in section


def test_fallback_that_misses_its_target_says_so(report: dict[str, Any]) -> None:
    full = fallen_back(report)
    full["fallback"] |= {"met": False, "layers": {}, "drop_95": None}
    for each in full["fallback"]["tries"]:
        each |= {"kept": False, "drop_95": None}  # a metric without scores of samples
    section = _section(drawn(full), "fallback")
    assert "which no try meets; the best one loses 0.25 points" in section
    assert "No layer falls back." in section
    assert 'class="interval"' not in section
    assert section.count("too much") == 6


def _section(page: str, name: str) -> str:
    start = page.index(f'id="{name}"')
    return page[start : page.index("</section>", start)]


def test_names_from_a_file_are_text(report: dict[str, Any]) -> None:
    wicked = "<script>alert(1)</script>\"'&\x07"
    other = fallen_back(analyzed(report))
    other["model"]["name"] = other["quantization"]["layers"][0]["name"] = wicked
    other["warnings"] = [wicked]
    other["fallback"]["layers"] = {wicked: wicked}
    other["sensitivity"][0]["layer"] = other["histograms"][0]["layer"] = wicked
    other["worst"][0]["thumbnail"] = 'https://example.com/x.png" onerror="alert(1)'
    page = drawn(other)
    assert page.count("<script>") == 1
    assert "\x07" not in page
    assert "example.com" not in page


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a report; of a list its first two."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            yield from _places(inner, (*path, index))


@pytest.mark.parametrize("found", WRONG, ids=repr)
def test_whatever_a_report_holds_it_is_drawn_or_refused(report: dict[str, Any], found: Any) -> None:
    """Two layers and two worst samples are as good as all, and drawn in no time."""
    small = fallen_back(analyzed(report))
    small["fallback"]["layers"] = {"conv1": 8, "fc": "float"}
    for rows in (small["histograms"], small["worst"], small["sensitivity"], small["quantization"]["layers"]):
        del rows[2:]
    small["history"] = {"steps": [{"step": 1, "epoch": 1, "loss": 2.0, "learning_rate": 0.1}], "epochs": []}
    assert "<svg" in drawn(small)
    for path in _places(small):
        if not path:
            continue
        other = copy.deepcopy(small)
        inside = other
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = found
        with contextlib.suppress(InputError):
            page = drawn(other)
            assert "</html>" in page
            assert not re.search(r'="(nan|-?inf)|[ ,MHV](nan|-?inf)[ ,"]', page), path


def test_both_languages_say_everything() -> None:
    words = json.loads(files("amctq.report_page").joinpath("words.json").read_text(encoding="utf-8"))
    for key, (english, chinese) in words.items():
        assert english, key
        assert chinese, key
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", chinese)), key


def test_every_word_is_used(report: dict[str, Any]) -> None:
    """Keys with a part that a report gives are looked up by their first part."""
    source = "".join(path.read_text() for path in Path(str(files("amctq.report_page"))).glob("*.py"))
    words = json.loads(files("amctq.report_page").joinpath("words.json").read_text(encoding="utf-8"))
    built = ("phase.", "stage.", "gain.", "change.", "worst.", "title.", "unit.", "data.", "sensitivity.")
    said = set(re.findall(r"""["']([\w.]+)["']""", source))
    assert not [key for key in words if key not in said and not key.startswith(built)]


def test_the_page_is_in_the_language_that_was_asked_for(report: dict[str, Any]) -> None:
    english, chinese = drawn(report, Language.EN), drawn(report, Language.ZH)
    assert '<html lang="en">' in english
    assert '<html lang="zh-CN">' in chinese
    assert not re.search(r"[\u4e00-\u9fff]", re.sub(r"<style>.*?</style>", "", english, flags=re.S))
