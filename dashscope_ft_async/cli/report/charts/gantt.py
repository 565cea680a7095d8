"""The timeline of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from dashscope_ft_async.cli.report import words
from dashscope_ft_async.cli.report.charts.style import (
    MOST_NAMED,
    WIDTH,
    Spec,
    Style,
    time_axis,
    tooltip,
    utc_of,
)
from dashscope_ft_async.cli.report.colours import OF_PHASE, OF_STATUS, SHAPE_OF
from dashscope_ft_async.cli.report.facts import Facts, JobFacts, by_time, labels_of
from dashscope_ft_async.cli.report.timeline import Phase, Span, clock_of, end_of, spans_of

_ROW, _THIN, _TALL = 26, 2.0, 900.0
PALE = "Pale bars go on; for how long by now is not known, since the service's times have no zone."


def timeline(facts: Facts, style: Style, *, told: bool = False) -> Spec | None:
    """What each job was when, one row for each; `None` where no time is known.

    With `told` there is beside each row how long the job took and how many tokens: where no table is.
    """
    jobs = by_time(facts.jobs)
    clock = clock_of(jobs)
    spans = {job.job_id: spans_of(job, clock, facts.made_at) for job in jobs}
    jobs = [job for job in jobs if spans[job.job_id] or end_of(job, clock)]
    if not jobs:
        return None
    labels = labels_of(jobs)
    edge = _edge([span for job in jobs for span in spans[job.job_id]])
    rows = [_bar(job, labels[job.job_id], span, edge) for job in jobs for span in spans[job.job_id]]
    ends: list[Spec] = [
        {"job": labels[job.job_id], "at": utc_of(end), "end": job.status, "tip": _tip_of(job)}
        for job in jobs
        if (end := end_of(job, clock)) is not None
    ]
    named = 1 < len(jobs) <= MOST_NAMED
    step = 44 if len(jobs) == 1 else _ROW if named else max(_THIN, min(_ROW / 2, _TALL / len(jobs)))
    row: Spec = {
        "field": "job",
        "type": "nominal",
        "sort": None,
        "scale": {"domain": [labels[job.job_id] for job in jobs]},
        "title": None,
        "axis": {"labelFontSize": 12} if named else None,
    }
    known = [bar["start"] for bar in rows] + [bar["end"] for bar in rows] + [end["at"] for end in ends]
    time = time_axis("The service's clock", known)
    phases = [phase for phase in Phase if any(bar["phase"] == phase for bar in rows)]
    outcomes = sorted({end["end"] for end in ends})
    palette = style.palette
    bars: Spec = {
        "data": {"values": rows},
        "mark": {"type": "bar", "height": {"band": 0.6 if named or len(jobs) == 1 else 1}},
        "encoding": {
            "y": row,
            "x": {"field": "start", **time},
            "x2": {"field": "end"},
            "color": {
                "field": "phase",
                "type": "nominal",
                "scale": {"domain": phases, "range": [palette[OF_PHASE[phase]] for phase in phases]},
            },
            "fillOpacity": {"condition": {"test": "datum.open", "value": 0.45}, "value": 1},
            **tooltip(style),
        },
    }
    marks: Spec = {
        "data": {"values": ends},
        "mark": {
            "type": "point",
            "filled": True,
            "opacity": 1,
            "size": 90 if named or len(jobs) == 1 else 14,
            "stroke": palette["paper"],
            "strokeWidth": 1.5 if named or len(jobs) == 1 else 0,
        },
        "encoding": {
            "y": row,
            "x": {"field": "at", **time},
            "color": _outcome_scale(outcomes, [palette[OF_STATUS.get(name, "other")] for name in outcomes]),
            "shape": _outcome_scale(outcomes, [SHAPE_OF.get(name, "diamond") for name in outcomes]),
            **tooltip(style),
        },
    }
    beside: list[Spec] = [
        {"job": labels[job.job_id], "said": said}
        for job in jobs
        if told and named and (said := words.in_short(job))
    ]
    sayings: Spec = {
        "data": {"values": beside},
        "mark": {"type": "text", "align": "left", "fontSize": 11, "color": palette["muted"]},
        "encoding": {"y": row, "x": {"value": WIDTH + 12}, "text": {"field": "said", "type": "nominal"}},
    }
    layers = ((bars, rows), (marks, ends), (sayings, beside))
    return {
        **style.size(),
        "height": step * len(jobs),
        "layer": [layer for layer, has in layers if has],
        "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        "config": style.config(),
    }


def goes_on(facts: Facts) -> bool:
    """Whether a bar of the timeline ends where it does for want of a better place."""
    clock = clock_of(facts.jobs)
    return any(span.end is None for job in facts.jobs for span in spans_of(job, clock, facts.made_at))


def _edge(spans: Sequence[Span]) -> datetime | None:
    """Where bars end that go on: not before the last time known, and where they can be seen."""
    known = [time for span in spans for time in (span.start, span.end) if time is not None]
    going_on = [span.start for span in spans if span.end is None]
    if not going_on:
        return None
    return max(*known, max(going_on) + max((max(known) - min(known)) * 0.3, timedelta(minutes=1)))


def _bar(job: JobFacts, label: str, span: Span, edge: datetime | None) -> Spec:
    begun = f"{span.phase} from {words.moment(span.start)}"
    if span.end is None:
        lasted = "and going on"
    else:
        lasted = f"to {words.moment(span.end)} ({words.lasting(span.end - span.start)})"
    return {
        "job": label,
        "phase": span.phase,
        "start": utc_of(span.start),
        "end": utc_of(span.end or edge or span.start),
        "open": span.end is None,
        "tip": f"{label}: {begun} {lasted}" + (f", {job.model}" if job.model else ""),
    }


def _tip_of(job: JobFacts) -> str:
    took = f" after {words.lasting(job.duration)}" if job.duration is not None else ""
    return f"{job.label}: {job.status}{took}" + (f", {job.reason}" if job.reason else "")


def _outcome_scale(names: Sequence[str], looks: Sequence[str]) -> Spec:
    return {"field": "end", "type": "nominal", "scale": {"domain": names, "range": looks}}
