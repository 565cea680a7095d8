"""The page: one file, which loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import attrs
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dashscope_ft_async import __version__
from dashscope_ft_async.cli.report import charts, draw, words
from dashscope_ft_async.cli.report.charts import FONT, PALE, Spec, Style
from dashscope_ft_async.cli.report.colours import OF_STATUS, PAGE, THEMES
from dashscope_ft_async.cli.report.facts import UNSEEN, Facts, JobFacts, WaitFacts, by_time
from dashscope_ft_async.cli.report.timeline import clock_of

_HERE = Path(__file__).parent


@attrs.frozen
class Figure:
    """A chart, as it is without scripts and as it is with them."""

    name: str
    title: str
    caption: str
    still: Markup
    live: Markup


@attrs.frozen
class Column:
    """A column of a table, a cell for each row."""

    name: str
    cells: Sequence[str]
    number: bool = False


def title_of(facts: Facts) -> str:
    """What the report is about."""
    if len(facts.jobs) == 1:
        return facts.jobs[0].label
    return words.some(len(facts.jobs), "fine-tuning job") if facts.jobs else "No jobs"


def page_of(facts: Facts) -> str:
    """The page as text."""
    jobs = by_time(facts.jobs)
    script = _safe_script(draw.script((_HERE / "page.js").read_text(encoding="utf-8")))
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        title=title_of(facts),
        facts=facts,
        one=jobs[0] if len(jobs) == 1 else None,
        columns=columns_of(jobs),
        failed=[job for job in jobs if job.status == "FAILED" and job.log.last_lines],
        figures=list(_figures(facts)),
        wait=facts.wait,
        outcomes=[] if facts.wait is None else _outcomes(facts.wait),
        warnings=list(_warnings(facts)),
        sources=list(_sources(facts)),
        made=words.moment(facts.made_at, utc=True),
        version=__version__,
        colour_of=_colour_of,
        themes=THEMES,
        font=FONT,
        script=Markup(script),  # noqa: S704 - ours and the library's
        allowed=_hash_of(script),
    )


def columns_of(jobs: Sequence[JobFacts]) -> list[Column]:
    """What is told of each job; what is known of none is left out."""

    def column(name: str, cell: Callable[[JobFacts], str], *, number: bool = False) -> Column:
        return Column(name, [cell(job) for job in jobs], number)

    every = [
        column("Job", lambda job: job.id),
        column("Status", lambda job: job.status),
        column("Name", lambda job: "" if job.label == job.id else job.label),
        column("Remarks", _remarks),
        column("Model", lambda job: job.model),
        column("Queued for", lambda job: words.lasting(job.queued), number=True),
        column("Trained for", lambda job: words.lasting(job.trained), number=True),
        column("Took in all", lambda job: words.lasting(job.duration), number=True),
        column("Tokens", lambda job: words.count(job.tokens), number=True),
        column("Checkpoints", lambda job: job.checkpoints, number=True),
        column("Last loss", lambda job: words.figure(job.last_loss()), number=True),
        column(
            "Last validation loss", lambda job: words.figure(job.last_loss(validation=True)), number=True
        ),
        column("Created", lambda job: words.moment(job.created)),
        column("Training began", lambda job: words.moment(job.began)),
        column("Ended", lambda job: words.moment(job.end)),
        column("Result", lambda job: job.output),
    ]
    return [each for each in every if any(each.cells)]


def _colour_of(status: str) -> str:
    return "unseen" if status == UNSEEN else OF_STATUS.get(status, "other")


def _remarks(job: JobFacts) -> str:
    said = [
        job.reason,
        "" if job.error is None else f"Could not be read: {job.error}",
        "" if job.recorded_at is None else f"As recorded {words.moment(job.recorded_at, utc=True)}",
        "" if job.log.error is None else f"Its log could not be read: {job.log.error}",
    ]
    return ". ".join(part.rstrip(".") for part in said if part)


def _figures(facts: Facts) -> Sequence[Figure]:
    still, live = Style(PAGE, charts.WIDTH), Style(PAGE, hover=True)
    captions = {
        "Timeline": PALE if charts.goes_on(facts) else "",
        "Loss": "Of long curves only the lowest and highest points of each stretch are drawn."
        if charts.is_thinned(facts)
        else "",
        "Requests": charts.SHADED if facts.wait is not None and facts.wait.holds else "",
    }
    drawn = [
        ("Timeline", charts.timeline(facts, still), charts.timeline(facts, live)),
        ("Loss", charts.losses(facts, still), charts.losses(facts, live)),
    ]
    if facts.wait is not None:
        drawn.append(("Requests", charts.requests(facts.wait, still), charts.requests(facts.wait, live)))
    return [
        Figure(name.lower(), name, captions[name], Markup(draw.svg(unmoved)), _safe_json(moving))  # noqa: S704
        for name, unmoved, moving in drawn
        if unmoved is not None and moving is not None
    ]


def _outcomes(wait: WaitFacts) -> list[tuple[str, str]]:
    told = [("Requests", words.count(len(wait.requests)))]
    told += [(outcome, words.count(number)) for outcome, number in wait.outcomes.most_common()]
    if wait.retries:
        told.append(("Attempts that were followed by another", words.count(len(wait.retries))))
        told += [
            (f"… after {reason}", words.count(number)) for reason, number in wait.reasons.most_common(8)
        ]
    if wait.holds:
        told.append(("Time in which requests were held back", words.lasting(timedelta(seconds=wait.held))))
    return told


def _warnings(facts: Facts) -> Sequence[str]:
    unread = sum(job.error is not None for job in facts.jobs)
    recorded = sum(job.recorded_at is not None for job in facts.jobs)
    logless = sum(job.log.error is not None for job in facts.jobs)
    lines = 0 if facts.wait is None else facts.wait.unread
    told = [
        f"{words.some(unread, 'job')} could not be read." if unread else "",
        f"What is told of {words.some(recorded, 'job')} is from a record, and may be old."
        if recorded
        else "",
        f"{words.some(logless, 'log')} could not be read to the end." if logless else "",
        f"{words.some(lines, 'line')} of the record could not be read." if lines else "",
    ]
    return [each for each in told if each]


def _sources(facts: Facts) -> Sequence[str]:
    clock = clock_of(facts.jobs)
    told = [
        "Status, tokens and times are what the service says of the jobs. Its times have no zone.",
        "Training began with the first line of the log that has a time."
        if any(job.began for job in facts.jobs)
        else "",
        f"The service's clock is {words.difference(clock)}, judging by ends that were seen between two "
        "polls. With that, what the wait saw is on the timeline too."
        if clock is not None
        else "",
        "Losses are read from the logs, as far as their lines have a form that is known."
        if any(job.log.losses for job in facts.jobs)
        else "",
        "Requests are those of the recorded wait, in the time of the machine that waited."
        if facts.wait is not None and facts.wait.requests
        else "",
    ]
    return [each for each in told if each]


def _safe_json(spec: Spec) -> Markup:
    """JSON that no text in it can end: whatever HTML would read is escaped."""
    text = json.dumps(spec, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)  # noqa: S704


def _safe_script(script: str) -> str:
    """The same script, without what HTML takes for its end or for a comment."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r\n", "\n")


def _hash_of(script: str) -> str:
    """By which the page's own policy knows the one script that may run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
