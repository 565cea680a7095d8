"""Pages in Chromium that must report no error and load nothing from outside. Run by `.ci/browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

LAUNCH = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class OpenPage(Protocol):
    """Opens `url` in a window of this size in pixels."""

    def __call__(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page: ...


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser named by CHROMIUM, else `chromium` on the path. None is downloaded."""
    binary = shutil.which(os.environ.get("CHROMIUM") or "chromium")
    assert binary, "no browser: .ci/browser says how to get one"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=binary, headless=True, args=LAUNCH)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for screenshots: the one named by SCREENSHOTS, else a temporary one."""
    named = os.environ.get("SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages; at the end checks that they reported no error and sent no request to another host."""
    pages: list[Page] = []
    problems: list[str] = []

    def opened(url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        def on_console(message: ConsoleMessage) -> None:
            if message.type == "error":
                problems.append(f"{url}: {message.text} {message.location}")

        def on_error(error: object) -> None:
            problems.append(f"{url}: {error}")

        def on_request(request: Request) -> None:
            if not _within(url, request.url):
                problems.append(f"{url}: requests {request.url}")

        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        page.set_default_timeout(10_000)
        pages.append(page)
        page.on("console", on_console)
        page.on("pageerror", on_error)
        page.on("request", on_request)
        page.goto(url)
        return page

    yield opened
    for page in pages:
        page.close()
    assert problems == []


def _within(url: str, requested: str) -> bool:
    """Whether a request of the page `url` stays in files, in memory, or on the same local server."""
    page, request = urlsplit(url), urlsplit(requested)
    if request.scheme in ("file", "data", "blob", "about"):
        return True
    return page.hostname == "127.0.0.1" and (page.scheme, page.netloc) == (request.scheme, request.netloc)
