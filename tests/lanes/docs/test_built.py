"""Checks of the built site that zensical's `--strict` does not make. Run by `.ci/docs`, which builds it."""

from __future__ import annotations

import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import dashscope_ft_async

ROOT = Path(__file__).parents[3]
SITE = ROOT / "site"
PAGES = sorted(SITE.rglob("*.html"))

MODULES = ("", ".hooks", ".otel", ".airflow", ".temporal", ".testing")


class Page(HTMLParser):
    """The anchors, links and loaded files of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value}
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("link", "use") and "href" in given:
            self.loads.append(given["href"])
        elif "src" in given:
            self.loads.append(given["src"])


READ = {path: Page(path) for path in PAGES}


def name_of(path: Path) -> str:
    return str(path.relative_to(SITE))


def is_broken(page: Path, link: str) -> bool:
    """Whether the target of a link within the site does not exist."""
    parts = urlsplit(link)
    base = SITE if parts.path.startswith("/") else page.parent
    to = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
    if to.is_dir():
        to /= "index.html"
    if not to.is_file():
        return True
    anchor = unquote(parts.fragment)
    return bool(anchor) and to in READ and anchor not in READ[to].ids | {"__top"}


def test_every_page_of_the_docs_was_built() -> None:
    docs = ROOT / "docs"
    wanted = {path.relative_to(docs).with_suffix(".html") for path in docs.rglob("*.md")}

    assert {path.relative_to(SITE) for path in PAGES} == wanted | {Path("404.html")}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_anchor_exists(page: Path) -> None:
    within = [link for link in READ[page].links + READ[page].loads if not urlsplit(link).scheme]

    assert [link for link in within if is_broken(page, link)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_loads_nothing_from_outside(page: Path) -> None:
    assert [url for url in READ[page].loads if urlsplit(url).netloc] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_the_outside_are_https(page: Path) -> None:
    outside = [urlsplit(link) for link in READ[page].links if urlsplit(link).scheme]

    assert [link.geturl() for link in outside if link.scheme != "https" or "." not in link.netloc] == []


def test_style_sheets_load_nothing_from_outside() -> None:
    sheets = list(SITE.rglob("*.css"))
    loaded = [
        url
        for sheet in sheets
        for url in re.findall(
            r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')]+)", sheet.read_text("utf-8")
        )
    ]

    assert sheets
    assert loaded == []


def test_every_public_name_is_documented() -> None:
    assert public_names() - inventory() == set()


def test_every_method_and_field_of_a_public_class_is_documented() -> None:
    members = {
        f"dashscope_ft_async.{name}.{member}"
        for name in dashscope_ft_async.__all__
        if isinstance(kind := getattr(dashscope_ft_async, name), type)
        for member in members_of(kind)
    }

    assert len(members) > 200
    assert members - inventory() == set()


def inventory() -> set[str]:
    """All names that are documented on the site."""
    packed = (SITE / "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {line.split(" ", 1)[0] for line in zlib.decompress(packed).decode().splitlines()}


def members_of(kind: type) -> set[str]:
    """Methods, properties and fields of the class that this package defines."""
    bases = [base for base in kind.__mro__ if base.__module__.startswith("dashscope_ft_async")]
    named = {name for base in bases for name in (*vars(base), *vars(base).get("__annotations__", ()))}
    return {name for name in named if not name.startswith("_")}


def public_names() -> set[str]:
    """The names in ``__all__``, read without importing: Airflow and Temporal need not be installed."""
    return {f"dashscope_ft_async{module}.{name}" for module in MODULES for name in _all(module)}


def _all(module: str) -> list[str]:
    folder = ROOT / "dashscope_ft_async" / module.removeprefix(".")
    path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    [names] = re.findall(
        r"^__all__ = \[(.*?)\]", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [name for name in re.findall(r'"(\w+)"', names) if name != "__version__"]
