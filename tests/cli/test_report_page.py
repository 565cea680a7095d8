"""Charts and the page: what is drawn, what is said, and that nothing from outside becomes part of it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import attrs
import pytest

from dashscope_ft_async.cli.report import charts, draw, page
from dashscope_ft_async.cli.report.charts import Style
from dashscope_ft_async.cli.report.charts.curves import thinned
from dashscope_ft_async.cli.report.colours import DARK, LIGHT, OF_GROUP, OF_PHASE, OF_STATUS, PAGE, SHAPE_OF
from dashscope_ft_async.cli.report.facts import GROUPS, Asked, Facts, JobFacts, Log, Loss, WaitFacts
from dashscope_ft_async.cli.report.timeline import Phase
from tests.conftest import KEY
from tests.support.report_world import CREATED, NOW, STAMP, curve, known, log_of, report, seen

DRAWN = Style(LIGHT, 800)
WAIT = WaitFacts(
    requests=[
        Asked(NOW + timedelta(seconds=n), 0.1, outcome)
        for n, outcome in enumerate(["answered", "answered", "throttled", "HTTP 503", "APITimeoutError"])
    ],
    retries=["Throttling: busy"],
    holds=[(NOW, 2.0)],
)


BUNDLE = draw.script


@pytest.fixture(scope="module", autouse=True)
def quick_script() -> Any:
    """The libraries of the script take seconds to bundle; the browser lane opens pages with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "script", "/* <!-- </script> */ {}".format)
        yield


def texts_of(spec: charts.Spec | None) -> set[str]:
    assert spec is not None
    return set(re.findall(r"<text[^>]*>([^<]*)</text>", draw.svg(spec)))


# --- charts -----------------------------------------------------------------------------------------


def test_the_timeline_names_jobs_phases_and_ends() -> None:
    facts = report(
        known("ft-1"),
        known("ft-2", "FAILED", job_name="问答机器人"),
        known("ft-3", "RUNNING", log=Log()),
    )
    texts = texts_of(charts.timeline(facts, DRAWN))
    assert {
        "ft-1",
        "问答机器人",
        "ft-3",
        "Queued",
        "Running",
        "Queued or running",
        "SUCCEEDED",
        "FAILED",
    } <= texts
    assert "The service's clock, 2026-01-05" in texts


def test_a_picture_says_what_its_pale_bars_mean() -> None:
    assert charts.PALE in texts_of(charts.picture(report(known(status="RUNNING")), DARK, "one"))
    assert charts.PALE not in texts_of(charts.picture(report(known()), DARK, "one"))


def test_a_picture_shows_the_requests_of_a_wait() -> None:
    texts = texts_of(charts.picture(report(known(), wait=WAIT), LIGHT, "one"))
    assert {"Requests", charts.SHADED, *GROUPS} <= texts
    assert "Requests" not in texts_of(charts.picture(report(known()), LIGHT, "one"))


def test_a_picture_tells_how_long_jobs_took_and_their_tokens() -> None:
    assert "SUCCEEDED · 20 min · 279,808 tokens" in texts_of(charts.picture(report(known()), LIGHT, "one"))
    two = report(known(), known("ft-2", "FAILED", minutes=95, usage=1))
    texts = texts_of(charts.picture(two, LIGHT, "two"))
    assert {"20 min · 279,808 tokens", "1 h 35 min · 1 token"} <= texts
    assert not any("tokens" in text for text in texts_of(charts.timeline(two, DRAWN)))
    many = report(*(known(f"ft-{n}") for n in range(50)))
    assert not any("tokens" in text for text in texts_of(charts.picture(many, LIGHT, "many")))


@pytest.mark.parametrize("jobs", [2, 9, 50])
def test_a_loss_of_a_single_figure_is_seen(jobs: int) -> None:
    def points(lone: list[float]) -> int:
        several = [known(f"ft-{n}", log=log_of(curve([2.0, 1.0] * 9))) for n in range(jobs)]
        spec = charts.losses(report(known("ft-lone", log=log_of(curve(lone))), *several), DRAWN)
        assert spec is not None
        return draw.svg(spec).count('aria-roledescription="point"')

    assert (points([1.5]), points([1.5] * 18)) == (1, 0)


@pytest.mark.parametrize("year", [1, 1969, 2200, 9999])
def test_times_at_the_ends_of_the_calendar_are_not_known(year: int) -> None:
    odd = datetime(year, 12, 31, 23, 59, 59)  # noqa: DTZ001 - the service names no zone
    stamp = f"{year:04}-12-31 23:59:59,000 - INFO - start to fine-tune"
    facts = report(
        known("ft-1", create_time=odd, end_time=odd),
        known("ft-2", "RUNNING", create_time=odd),
        known("ft-3", "RUNNING", log=log_of([stamp])),
        known("ft-4", end_time=odd.replace(tzinfo=UTC)),
        wait=WAIT,
    )
    assert f"{year:04}-12-31" not in page.page_of(facts)
    assert draw.png(charts.picture(facts, LIGHT, "odd")).startswith(b"\x89PNG")


def test_the_timeline_of_one_job_does_not_name_it() -> None:
    assert "ft-1" not in texts_of(charts.timeline(report(known()), DRAWN))


def test_five_hundred_jobs_are_one_picture_of_bounded_height() -> None:
    jobs = [known(f"ft-{n}", create_time=CREATED - timedelta(minutes=n)) for n in range(500)]
    spec = charts.timeline(report(*jobs), DRAWN)
    assert spec is not None
    assert spec["height"] <= 1000
    assert "ft-1" not in texts_of(spec)


def test_what_has_no_time_and_no_loss_has_no_chart() -> None:
    facts = report(JobFacts(job_id="ft-1", error="NotFound"))
    assert charts.timeline(facts, DRAWN) is None
    assert charts.losses(facts, DRAWN) is None
    assert charts.requests(WaitFacts(), DRAWN) is None
    assert draw.png(charts.picture(facts, LIGHT, "nothing"))


@pytest.mark.parametrize("values", [[1.5], [1.5, 1.5], [0.0, 1e-9], [-3.0, 1e300], [5e-324, 1.0]])
@pytest.mark.parametrize("minutes", [0, 1e-4, 1e6])
def test_odd_figures_and_moments_can_be_drawn(values: list[float], minutes: float) -> None:
    facts = report(known(minutes=minutes, log=log_of(curve(values))))
    assert draw.png(charts.picture(facts, LIGHT, "odd")).startswith(b"\x89PNG")
    assert draw.svg(charts.requests(attrs.evolve(WAIT, requests=WAIT.requests[:1], holds=[]), DRAWN) or {})


def test_losses_are_by_step_where_all_lines_tell_it_and_else_by_line() -> None:
    assert "Step" in texts_of(charts.losses(report(known()), DRAWN))
    stepless = log_of(["{'loss': 2.0}", "{'loss': 1.0}"])
    assert "Line of the log" in texts_of(charts.losses(report(known(), known("ft-2", log=stepless)), DRAWN))


def test_a_wide_range_of_losses_is_drawn_logarithmically() -> None:
    wide = known(log=log_of(curve([900.0, 20.0, 0.5])))
    assert "logarithmic" in texts_of(charts.losses(report(wide), DRAWN))
    assert "logarithmic" not in texts_of(charts.losses(report(known()), DRAWN))


def test_validation_is_told_apart_and_few_jobs_are_named() -> None:
    both = known(log=log_of([*curve([2.0, 1.5]), *curve([2.1, 1.7], "eval_loss")]))
    texts = texts_of(charts.losses(report(both, known("ft-2")), DRAWN))
    assert {"training", "validation", "ft-1", "ft-2"} <= texts
    many = report(*(known(f"ft-{n}") for n in range(12)))
    assert not {"training", "ft-1"} & texts_of(charts.losses(many, DRAWN))


def test_a_long_curve_keeps_its_ends_and_its_spikes() -> None:
    losses = [Loss(n, n, 100.0 if n == 5003 else 1.0 + n / 1e5, False) for n in range(1, 20_001)]
    thin = thinned(losses, 400)
    assert len(thin) <= 402
    assert losses[5002] in thin
    assert thin[-1] == losses[-1]
    assert thin == sorted(thin, key=lambda loss: loss.line)


def test_the_page_says_that_a_long_curve_is_thinned() -> None:
    said = "Of long curves only the lowest and highest points"
    long = known(log=log_of(f"{{'loss': {n % 7}.5}}" for n in range(9000)))
    assert said in page.page_of(report(long))
    assert said not in page.page_of(report(known()))


def test_requests_are_counted_by_what_came_of_them() -> None:
    assert set(GROUPS) <= texts_of(charts.requests(WAIT, DRAWN))


def test_everything_that_is_drawn_has_a_colour_in_each_theme() -> None:
    names = {*OF_PHASE.values(), *OF_STATUS.values(), *OF_GROUP.values()}
    assert names <= LIGHT.colours.keys() == DARK.colours.keys() == PAGE.colours.keys()
    assert OF_PHASE.keys() == set(Phase)
    assert SHAPE_OF.keys() <= OF_STATUS.keys()


@pytest.mark.parametrize(
    ("foreground", "least"), [("ink", 7.0), ("muted", 4.5), ("succeeded", 4.5), ("failed", 4.5)]
)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(palette: Any, foreground: str, least: float) -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(palette[foreground]), luminance(palette["paper"])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= least


# --- the page ---------------------------------------------------------------------------------------


class Parsed(HTMLParser):
    """A page as a browser would take it apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.texts: list[str] = []
        self._in: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._in = [tag]
            if tag == "script":
                self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self._in = []

    def handle_data(self, data: str) -> None:
        if self._in == ["script"]:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif not self._in and data.strip():
            self.texts.append(data.strip())


EVIL = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\"'--><!--"


def evil_facts() -> Facts:
    log = log_of([STAMP, *curve([2.0, 1.0]), EVIL])
    failed = known(
        "ft-<b>",
        "FAILED",
        job_name=EVIL,
        model=EVIL,
        code=EVIL,
        message=f"{EVIL}\x1b[31m\u202e {KEY}",
        log=log,
    )
    odd = attrs.evolve(known("ft-2"), error=EVIL, job=None, log=Log(error=EVIL))
    wait = WaitFacts(requests=[Asked(NOW, 0.1, EVIL)], retries=[EVIL])
    return report(failed, odd, known("ft-3", "RUNNING", job_name="\ud800 ' \" `${x}"), wait=wait)


@pytest.mark.parametrize("facts", [evil_facts(), attrs.evolve(evil_facts(), jobs=evil_facts().jobs[:1])])
def test_what_the_service_says_never_becomes_part_of_the_page(facts: Facts) -> None:
    text = page.page_of(facts)
    parsed = Parsed(text)
    assert not {"img", "b", "iframe", "object", "base"} & {tag for tag, _ in parsed.tags}
    assert [kind for kind, _ in parsed.scripts if kind.get("type") != "application/json"] == [{}]
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert EVIL in " ".join(parsed.texts)
    assert KEY not in text
    assert "sk-***" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_script_is_whole_and_asks_nobody() -> None:
    script = BUNDLE("window.ready = vegaEmbed;")
    assert "window.ready" in script
    assert "import(" not in script


def test_the_data_in_the_page_is_the_data() -> None:
    charts_of_it = [json.loads(text) for kind, text in Parsed(page.page_of(evil_facts())).scripts if kind]
    assert EVIL[:20] in json.dumps(charts_of_it)
    assert len(charts_of_it) == 3


def test_the_page_loads_nothing_and_its_policy_says_so() -> None:
    text = page.page_of(report(known(), known("ft-2", "FAILED"), wait=WAIT))
    parsed = Parsed(text)
    loads = [
        attributes[name]
        for _, attributes in parsed.tags
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
        if name in attributes
    ]
    assert loads == ["data:,"]
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(
        each["content"] for _, each in parsed.tags if each.get("http-equiv") == "Content-Security-Policy"
    )
    script = next(text for kind, text in parsed.scripts if not kind)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert policy.split("; ")[:2] == ["default-src 'none'", f"script-src 'sha256-{digest}'"]
    assert "unsafe-eval" not in policy


def test_the_page_about_one_job_is_about_this_job() -> None:
    facts = report(known(job_name="faq-bot", output_cnt=2, max_output_cnt=3, finetuned_output="qwen3-faq"))
    text = page.page_of(facts)
    said = Parsed(text).texts
    assert "<table>" not in text
    for words in (
        "faq-bot",
        "ft-1",
        "SUCCEEDED",
        "279,808",
        "2 of 3",
        "1.2",
        "4 min",
        "16 min",
        "qwen3-faq",
    ):
        assert words in said, words


def test_the_page_about_many_has_a_row_for_each() -> None:
    lost = JobFacts(job_id="ft-2", error="NotFound: job ft-2 not found.")
    old = attrs.evolve(known("ft-3", "RUNNING"), error="APIConnectionError", recorded_at=NOW)
    parsed = Parsed(page.page_of(report(known(), lost, old, wait=attrs.evolve(WAIT, unread=1))))
    rows = [
        attributes for tag, attributes in parsed.tags if tag == "th" and attributes.get("class") == "id"
    ]
    assert len(rows) == 3
    said = " ".join(parsed.texts)
    assert "2 jobs could not be read." in said
    assert "What is told of 1 job is from a record, and may be old." in said
    assert "1 line of the record could not be read." in said
    assert "Could not be read: NotFound: job ft-2 not found" in said
    assert "As recorded 2026-01-05 03:00:00 UTC" in said
    for row in ("throttled", "HTTP 503", "APITimeoutError", "Attempts that were followed by another"):
        assert row in parsed.texts


def test_the_log_of_a_failed_job_ends_the_page_about_it() -> None:
    failed = known(status="FAILED", log=log_of([STAMP, "CUDA out of memory"]))
    assert "CUDA out of memory" in page.page_of(report(failed))


def test_a_job_that_was_not_seen_does_not_look_as_one_that_succeeded() -> None:
    text = page.page_of(report(known(), JobFacts(job_id="ft-2", error="NotFound")))
    assert '<li class="chip unseen">1 not seen</li>' in text
    assert '.chip.unseen::before { content: "? "; }' in text


def test_the_page_says_by_what_it_knows_the_clock() -> None:
    watched = attrs.evolve(known(), sightings=[seen(20, "SUCCEEDED", 19.9)])
    said = "The service's clock is 8 h ahead of UTC, judging by ends that were seen between two polls."
    assert said in html.unescape(page.page_of(report(watched)))


def test_a_page_about_nothing_says_so() -> None:
    assert "No jobs" in Parsed(page.page_of(report())).texts


def test_no_two_things_in_the_page_have_the_same_id() -> None:
    facts = report(*(known(f"ft-{n}", "FAILED") for n in range(9)), wait=WAIT)
    ids = [each["id"] for _, each in Parsed(page.page_of(facts)).tags if "id" in each]
    assert len(ids) == len(set(ids))
