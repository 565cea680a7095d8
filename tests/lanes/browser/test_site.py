"""Every page of the site in a wide and a narrow window, in light and dark colours."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.lanes.browser.conftest import OpenPage

ROOT = Path(__file__).parents[3]
PAGES = sorted(str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md"))


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a log line for each."""

    def log_request(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the site, built as `.ci/docs` builds it."""
    zensical = str(Path(sys.executable).with_name("zensical"))
    subprocess.run([zensical, "build", "--strict", "--clean"], cwd=ROOT, check=True, timeout=300)
    return ROOT / "site"


@pytest.fixture(scope="session")
def site(built: Path) -> Iterator[str]:
    """The URL of the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(built))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def wider_than_its_window(page: Page) -> bool:
    """Whether the page needs horizontal scrolling."""
    return bool(page.evaluate("document.documentElement.scrollWidth > window.innerWidth"))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_both_windows(name: str, site: str, open_page: OpenPage, screenshots: Path) -> None:
    picture = name.removesuffix(".md").replace("/", "-")
    page = open_page(f"{site}/{name.removesuffix('.md')}.html")

    for window, width, dark in (("wide", 1280, False), ("narrow", 375, True)):
        page.emulate_media(color_scheme="dark" if dark else "light")
        page.set_viewport_size({"width": width, "height": 800})
        page.screenshot(path=screenshots / f"{picture}-{window}.png", animations="disabled")

        expect(page.locator("article h1")).to_have_count(1)
        assert not wider_than_its_window(page)


def test_the_page_uses_the_colour_scheme_of_the_system(site: str, open_page: OpenPage) -> None:
    grounds = [
        open_page(f"{site}/index.html", dark=dark).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for dark in (False, True)
    ]

    assert grounds[0] != grounds[1]


def test_the_language_switch_opens_the_chinese_pages(site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/reference/cli.html")

    page.locator(".md-select button").hover()
    page.locator(".md-select__link", has_text="中文").click()

    expect(page.locator("article")).to_contain_text("快速开始")


def test_search_finds_a_name_and_opens_its_place(site: str, open_page: OpenPage) -> None:
    page = open_page(f"{site}/index.html")

    find(page, "outage_tolerance")

    expect(page.locator("article h1")).to_contain_text("Policies")
    assert page.url.endswith("#dashscope_ft_async.PollPolicy.outage_tolerance")


def test_the_site_works_from_a_folder_without_a_server(built: Path, open_page: OpenPage) -> None:
    page = open_page((built / "index.html").as_uri())

    page.get_by_role("link", name="Why these defaults").first.click()
    expect(page.locator("article h1")).to_contain_text("Why these defaults")
    find(page, "outage_tolerance")

    expect(page.locator("article h1")).to_contain_text("Policies")


def find(page: Page, words: str) -> None:
    """Search for `words` and open the first result."""
    page.wait_for_load_state("networkidle")
    page.keyboard.press("/")
    page.get_by_role("combobox").fill(words)
    page.get_by_role("option").first.click()
