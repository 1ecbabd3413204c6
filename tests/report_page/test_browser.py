"""The page in a real browser: nothing leaves it, everything is drawn, it fits a phone, and the keyboard is enough."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amctq.choices import Language
from amctq.pretrained import CHECKPOINT
from tests.command import Shared
from tests.report_page.reports import FEW, analyzed, drawn, fallen_back, read
from tests.runs import Runs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# The quiet ones: a browser has talks of its own, which are not the page's.
FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
WIDTHS = (390, 1440)
OPENS = 2.0  # seconds
PAGES = ("ptq", "zh", "analyzed", "qat", "fallback", "fallback-zh")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, to look at the page")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, to drive Chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def pages(shared: Shared, pictures: Path, runs: Runs) -> dict[str, Path]:
    """Pages of real runs, by what they show."""
    _, output = runs.finished("ptq", *shared.network("resnet20"), *FEW, "--lang", "en")
    report = read(output / "report.json")
    _, trained = runs.finished(
        *("qat", "--dataset", pictures, "--ckpt", CHECKPOINT, "--model", "resnet8"),
        *("--batch-size", 16, "--epochs", 3, "--calib-images", 8, "--lang", "en"),
    )

    def make(folder: Path) -> None:
        (folder / "zh.html").write_text(drawn(report, Language.ZH), encoding="utf-8")
        (folder / "analyzed.html").write_text(drawn(analyzed(report)), encoding="utf-8")
        (folder / "fallback.html").write_text(drawn(fallen_back(report)), encoding="utf-8")
        (folder / "fallback-zh.html").write_text(drawn(fallen_back(report), Language.ZH), encoding="utf-8")

    made = runs.made("report-pages", make)
    return {
        "ptq": output / "report.html",
        "qat": trained / "report.html",
        "zh": made / "zh.html",
        "analyzed": made / "analyzed.html",
        "fallback": made / "fallback.html",
        "fallback-zh": made / "fallback-zh.html",
    }


class Opened:
    """A page in the browser, with what it has asked for and complained of."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        start = time.perf_counter()
        self.page.goto(path.as_uri())
        self.seconds = time.perf_counter() - start

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self.context.close()

    def unfold(self) -> None:
        self.page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")


def _keep(opened: Opened, name: str, place: Path) -> None:
    """Keep a screenshot: where SCREENSHOTS says, else among the test's own files."""
    folder = Path(os.environ.get("SCREENSHOTS", place))
    folder.mkdir(parents=True, exist_ok=True)
    opened.page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_it_is_whole_at_every_width(
    name: str, width: int, browser: Any, pages: dict[str, Path], tmp_path: Path
) -> None:
    with Opened(browser, pages[name], width) as opened:
        assert opened.seconds <= OPENS
        _keep(opened, f"{name}-{width}", tmp_path)
        opened.unfold()
        assert _overflowing(opened) == []
        drawn_plots = opened.page.evaluate(PLOTS)
        assert len(drawn_plots) > 10
        for plot in drawn_plots:
            assert plot["width"] > 200, plot
            assert plot["shapes"] > 0, plot
            assert plot["outside"] == [], plot
        assert opened.page.evaluate("Array.from(document.images, (each) => each.naturalWidth > 0)").count(False) == 0
        assert [url for url in opened.requests if not url.startswith("data:")] == [pages[name].as_uri()]
        assert opened.complaints == []


# What of a drawing is seen, and which texts leave it; the bars in tables are drawings without text.
PLOTS = """() => Array.from(document.querySelectorAll("figure svg"), (svg) => {
  const box = svg.getBoundingClientRect();
  const shapes = Array.from(svg.querySelectorAll("path, polyline, rect, circle"));
  const texts = Array.from(svg.querySelectorAll("text"));
  return {
    name: svg.getAttribute("aria-label"),
    width: box.width,
    shapes: shapes.map((each) => each.getBoundingClientRect()).filter((each) => each.width && each.height).length,
    outside: texts.filter((each) => {
      const own = each.getBoundingClientRect();
      const across = own.left < box.left - 1 || own.right > box.right + 1;
      return across || own.top < box.top - 1 || own.bottom > box.bottom + 1;
    }).map((each) => each.textContent),
  };
})"""


def _overflowing(opened: Opened) -> list[str]:
    """What reaches beyond the window; a wide table scrolls inside its own frame."""
    found: list[str] = opened.page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          const out = document.documentElement.scrollWidth > width ? ["the page scrolls sideways"] : [];
          const wide = Array.from(document.querySelectorAll("body *")).filter(
            (each) => !each.closest(".scroll table, .skip") && each.getBoundingClientRect().right > width + 1,
          );
          return out.concat(wide.map((each) => each.outerHTML.slice(0, 100)));
        }"""
    )
    return found


def test_the_keyboard_reaches_every_control(browser: Any, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["ptq"], 1440) as opened:
        every = json.dumps("a[href], button, summary, [tabindex='0']")
        opened.page.evaluate(f"window.every = Array.from(document.querySelectorAll({every}))")
        controls = opened.page.evaluate("every.filter((each) => each.checkVisibility()).length")
        assert controls > 40
        opened.page.evaluate("window.reached = new Set()")
        for _ in range(controls + 2):
            opened.page.keyboard.press("Tab")
            opened.page.evaluate("document.activeElement === document.body || reached.add(document.activeElement)")
            seen = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert seen != "none" or opened.page.evaluate("document.activeElement === document.body")
        assert opened.page.evaluate("reached.size") == controls
        opened.page.locator("details.layer summary").first.focus()
        opened.page.keyboard.press("Enter")
        assert opened.page.locator("details.layer").first.locator("svg").first.is_visible()


def test_a_table_is_copied_for_a_spreadsheet(browser: Any, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["ptq"], 1440) as opened:
        opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
        report = read(pages["ptq"].with_name("report.json"))
        opened.page.locator("#measured ~ .beside button.copy").first.click()
        opened.page.wait_for_function("document.querySelector('#measured ~ .beside button').textContent === 'Copied'")
        lines = opened.page.evaluate("navigator.clipboard.readText()").splitlines()
        assert [line.split("\t")[0] for line in lines] == ["", "top-1, %", "top-5, %"]
        float_top1, int8_top1 = (float(cell) for cell in lines[1].split("\t")[1:3])
        assert (float_top1, int8_top1) == (report["accuracy"]["float"]["top1"], report["accuracy"]["int8"]["top1"])


def test_dark_is_dark(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        with Opened(browser, pages["analyzed"], 1440, scheme) as opened:
            _keep(opened, f"analyzed-{scheme}", tmp_path)
            colours = opened.page.evaluate(
                "['color', 'backgroundColor'].map((each) => getComputedStyle(document.body)[each].match(/\\d+/g))"
            )
            brightness[scheme] = [sum(map(int, colour[:3])) / 3 for colour in colours]
    text, back = brightness["light"]
    assert back - text > 150
    text, back = brightness["dark"]
    assert text - back > 150


def test_a_reader_of_chinese_gets_chinese(browser: Any, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["zh"], 390) as opened:
        assert opened.page.evaluate("document.documentElement.lang") == "zh-CN"
        heads = opened.page.locator("h2").all_text_contents()
        assert heads[0] == "结论"
        assert not [head for head in heads if head.isascii()]
