"""A real Chromium, and pages in it that must keep to themselves. Run by `.ci/browser`."""

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
    """Opens `url` in a window of that many pixels."""

    def __call__(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page: ...


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser that CHROMIUM names, else the one on the path; none is ever downloaded."""
    binary = shutil.which(os.environ.get("CHROMIUM") or "chromium")
    assert binary, "no browser: .ci/browser says how to get one"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=binary, headless=True, args=LAUNCH)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: the folder that SCREENSHOTS names, else a temporary one."""
    named = os.environ.get("SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages, and holds in the end that they reported no error and asked nobody outside."""
    pages: list[Page] = []
    trouble: list[str] = []

    def opened(url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        def heard(message: ConsoleMessage) -> None:
            if message.type == "error":
                trouble.append(f"{url}: {message.text} {message.location}")

        def raised(error: object) -> None:
            trouble.append(f"{url}: {error}")

        def asked(request: Request) -> None:
            if not _within(url, request.url):
                trouble.append(f"{url}: asks for {request.url}")

        page = browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        page.set_default_timeout(10_000)
        pages.append(page)
        page.on("console", heard)
        page.on("pageerror", raised)
        page.on("request", asked)
        page.goto(url)
        return page

    yield opened
    for page in pages:
        page.close()
    assert trouble == []


def _within(url: str, asked: str) -> bool:
    """Whether `asked` stays in the file, in memory, or with the server on this machine that `url` names."""
    page, request = urlsplit(url), urlsplit(asked)
    if request.scheme in ("file", "data", "blob", "about"):
        return True
    return page.hostname == "127.0.0.1" and (page.scheme, page.netloc) == (request.scheme, request.netloc)
