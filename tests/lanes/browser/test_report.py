"""Reports of a simulated service, in narrow and wide windows, light and dark, with and without scripts."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dashscope_ft_async.testing import Fault, Simulator
from tests.lanes.browser.conftest import OpenPage

START = datetime(2026, 1, 5, 10, 30, 12)  # noqa: DTZ001 - the times of the service have no zone
REPORTS = ("running", "succeeded", "storm", "hundreds")
WINDOWS = [(1280, False), (1280, True), (390, False), (390, True)]
NAMES = ("faq-bot", "问答机器人", "summaries", '<b>bold</b> & "quoted" </script>', "router", "classifier")


def at(seconds: float) -> str:
    return f"{START + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"


def log(began: float, steps: int, height: float) -> list[tuple[float, str]]:
    lines = [f"{at(began)},136 - INFO - data process succeeded, start to fine-tune"]
    for step in range(1, steps + 1):
        done = f"'global_step/max_steps': '{step}/{steps}'"
        lines.append(f"{{'loss': {height + 2 / (1 + step / 6):.4f}, 'learning_rate': 1.6e-05, {done}}}")
        if step % 8 == 0:
            lines.append(f"{{'eval_loss': {height + 0.15 + 2 / (1 + step / 6):.4f}, {done}}}")
    return [(0, line) for line in lines]


def add(service: Simulator, place: int, status: str, **fields: Any) -> str:
    """A job that waited, trained and ended, all in the past."""
    began, ended = place * 40 + 120, place * 40 + 900 + place % 5 * 200
    times = {"create_time": at(place * 40), **({} if status == "RUNNING" else {"end_time": at(ended)})}
    told = log(began, 40, 0.7 + place % 7 / 10)
    return service.add_job(
        [(0, status)], log=told, **{"output_cnt": 2, "max_output_cnt": 3} | times | fields
    )


async def make(folder: Path) -> None:
    async with Simulator(start_time=START) as service:

        async def ask(command: str, *args: str) -> None:
            code = "from dashscope_ft_async.__main__ import main; main()"
            options = ["--base-url", service.base_url, *args]
            asking = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, command, *options, cwd=folder, stdout=subprocess.DEVNULL,
                env={**os.environ, "DASHSCOPE_API_KEY": "sk-simulated"},
            )  # fmt: skip
            assert await asking.wait() in (0, 1, 5)

        await ask("report", "-o", "running.html", add(service, 0, "RUNNING"))
        await ask("report", "-o", "succeeded.html", "-o", "succeeded.svg", add(service, 1, "SUCCEEDED"))
        many = [add(service, n, "FAILED" if n % 7 == 6 else "SUCCEEDED") for n in range(500)]
        await ask("report", "-o", "hundreds.html", *many)
        storm = [
            service.add_job(
                [
                    (0, "PENDING"),
                    (0.5, "QUEUING"),
                    (1 + n / 4, "RUNNING"),
                    (3 + n / 3, "SUCCEEDED" if n % 3 else "FAILED"),
                ],
                log=log(1 + n / 4, 30, n / 9),
                job_name=NAMES[n % len(NAMES)],
            )
            for n in range(12)
        ]
        faults = [Fault.error(500, "InternalError", "internal error"), Fault.reset(), Fault.html(502)]
        asyncio.get_running_loop().call_later(1, service.fail_next, *faults * 3)
        asyncio.get_running_loop().call_later(3, service.throttle, 2)
        await ask("wait", "--record", "storm.jsonl", *storm)
        await ask("report", "--record", "storm.jsonl", "-o", "storm.html", *storm, "ft-not-there")


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the reports. Made in a thread: the browser's loop is in this one."""
    folder = tmp_path_factory.mktemp("reports")
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, make(folder)).result()
    return folder


@pytest.fixture
def still(browser: Browser, reports: Path) -> Iterator[Page]:
    """A page in a browser that runs no scripts, as viewers of build artefacts do it."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, java_script_enabled=False)
    page = context.new_page()
    page.goto((reports / "storm.html").as_uri())
    yield page
    context.close()


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize(("width", "dark"), WINDOWS)
def test_a_report_stands_in_every_window(
    name: str, width: int, dark: bool, reports: Path, open_page: OpenPage, screenshots: Path
) -> None:
    page = open_page((reports / f"{name}.html").as_uri(), width=width, dark=dark)
    figures = page.locator("figure")
    expect(page.locator("figure.drawn")).to_have_count(figures.count(), timeout=20_000)
    page.screenshot(
        path=screenshots / f"report-{name}-{width}-{'dark' if dark else 'light'}.png", full_page=True
    )

    assert figures.count() == (3 if name == "storm" else 2)
    for place in range(figures.count()):
        expect(figures.nth(place).locator(".still")).to_be_hidden()
        box = figures.nth(place).locator(".live svg").bounding_box()
        assert box is not None
        assert box["width"] > 0.8 * (min(width, 1000) - 60)
        assert box["height"] > 60
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)"
    )
    # A chart takes its colours from the page: none of them is left as a name that nothing defines.
    ink = page.locator("figure .live svg .role-axis-label text").first
    assert ink.evaluate("text => getComputedStyle(text).fill") == (
        "rgb(160, 169, 180)" if dark else "rgb(91, 101, 112)"
    )


def test_what_is_pointed_at_tells_its_figures(reports: Path, open_page: OpenPage) -> None:
    page = open_page((reports / "storm.html").as_uri())
    expect(page.locator("figure.drawn")).to_have_count(3, timeout=20_000)
    tip = page.locator("#vg-tooltip-element.visible")

    page.locator("figure .live .mark-rect.role-mark path").first.hover()
    expect(tip).to_contain_text("Queued from 2026-01-05 10:")
    page.mouse.move(0, 0)
    expect(tip).to_have_count(0)

    curves = page.locator("figure").nth(1).locator(".live svg")
    curves.scroll_into_view_if_needed()
    box = curves.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(tip).to_contain_text("loss ")
    expect(tip).to_contain_text("step ")


def test_the_theme_changes_while_the_page_is_open(reports: Path, open_page: OpenPage) -> None:
    page = open_page((reports / "succeeded.html").as_uri())
    expect(page.locator("figure.drawn")).to_have_count(2, timeout=20_000)
    page.emulate_media(color_scheme="dark")
    ink = page.locator("figure .live svg .role-axis-label text").first
    assert ink.evaluate("text => getComputedStyle(text).fill") == "rgb(160, 169, 180)"


def test_without_scripts_the_charts_are_there_all_the_same(still: Page, screenshots: Path) -> None:
    still.screenshot(path=screenshots / "report-storm-still.png", full_page=True)
    for place in range(3):
        box = still.locator("figure .still svg").nth(place).bounding_box()
        assert box is not None
        assert box["width"] > 900
    expect(still.get_by_text("问答机器人 · ").first).to_be_visible()


def test_a_report_prints(reports: Path, open_page: OpenPage, screenshots: Path) -> None:
    page = open_page((reports / "storm.html").as_uri(), dark=True)
    expect(page.locator("figure.drawn")).to_have_count(3, timeout=20_000)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    expect(page.locator(".still svg").first).to_be_visible()
    assert page.pdf(path=screenshots / "report-storm.pdf", format="A4").startswith(b"%PDF")


def test_a_picture_stands_by_itself(reports: Path, open_page: OpenPage) -> None:
    page = open_page((reports / "succeeded.svg").as_uri())
    assert page.evaluate("document.documentElement.tagName") == "svg"
    assert page.locator("text=SUCCEEDED · 18 min 20 s · 279,808 tokens").count() == 1
