"""How facts are drawn: pure, from facts to specifications of Vega-Lite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from dashscope_ft_async.cli.report import words
from dashscope_ft_async.cli.report.colours import (
    OF_GROUP,
    OF_PHASE,
    OF_STATUS,
    PAGE,
    SERIES,
    SHAPE_OF,
    Palette,
)
from dashscope_ft_async.cli.report.facts import (
    GROUPS,
    Facts,
    JobFacts,
    Loss,
    WaitFacts,
    by_time,
    labels_of,
)
from dashscope_ft_async.cli.report.timeline import Phase, Span, clock_of, end_of, spans_of

Spec = dict[str, Any]

FONT = "system-ui, 'Noto Sans', 'DejaVu Sans', 'Noto Sans CJK SC', sans-serif"
WIDTH = 860
"""Of a picture that is not in the page, in CSS pixels."""
_MOST_NAMED = 40
"""With more jobs than this, rows are thin and have no names."""
_ROW, _THIN, _TALL = 26, 2.0, 900.0
POINTS = 4_000
"""About so many points of losses are drawn in all."""
_FEWEST_POINTS = 12
_WIDE_RANGE = 100.0
_BINS = 60
PALE = "Pale bars go on; for how long by now is not known, since the service's times have no zone."
_CLOCK = {
    "year": "%Y",
    "quarter": "%Y-%m",
    "month": "%Y-%m",
    "week": "%m-%d",
    "date": "%m-%d",
    "day": "%m-%d",
    "hours": "%H:%M",
    "minutes": "%H:%M",
    "seconds": "%H:%M:%S",
    "milliseconds": "%H:%M:%S",
}


@attrs.frozen
class Style:
    """Where a chart is to be."""

    palette: Palette = PAGE
    width: int | str = "container"
    hover: bool = False
    """Whether somebody can point at it."""

    def size(self) -> Spec:
        """The width, and what gives way to it."""
        return {"width": self.width, "autosize": {"type": "fit-x", "contains": "padding"}}

    def config(self) -> Spec:
        """Vega-Lite's configuration: ours from the paper to the axes."""
        ink, muted, line = self.palette["ink"], self.palette["muted"], self.palette["line"]
        text = {"labelColor": muted, "titleColor": muted, "titleFontWeight": "normal"}
        return {
            "font": FONT,
            "background": None if self.palette is PAGE else self.palette["paper"],
            "view": {"stroke": None},
            "axis": {
                **text,
                "gridColor": line,
                "domainColor": line,
                "tickColor": line,
                "labelFontSize": 11,
            },
            "axisY": {"domain": False, "ticks": False, "labelPadding": 8, "labelLimit": 230},
            "legend": {**text, "orient": "top", "title": None, "labelFontSize": 12, "labelLimit": 220},
            "title": {
                "color": ink,
                "subtitleColor": muted,
                "anchor": "start",
                "frame": "group",
                "fontSize": 15,
                "offset": 12,
                "subtitlePadding": 5,
            },
        }


def timeline(facts: Facts, style: Style) -> Spec | None:
    """What each job was when, one row for each; `None` where no time is known."""
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
        {"job": labels[job.job_id], "at": _utc(end), "end": job.status, "tip": _tip_of(job)}
        for job in jobs
        if (end := end_of(job, clock)) is not None
    ]
    named = 1 < len(jobs) <= _MOST_NAMED
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
    time = _time_axis("The service's clock", known)
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
            **_tooltip(style),
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
            **_tooltip(style),
        },
    }
    return {
        **style.size(),
        "height": step * len(jobs),
        "layer": [layer for layer, has in ((bars, rows), (marks, ends)) if has],
        "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        "config": style.config(),
    }


def losses(facts: Facts, style: Style) -> Spec | None:
    """The loss of each job as its log tells it; `None` where no log tells one."""
    jobs = [job for job in by_time(facts.jobs) if job.log.losses]
    if not jobs:
        return None
    labels = labels_of(jobs)
    figures = [loss for job in jobs for loss in job.log.losses]
    by_step = all(loss.step is not None for loss in figures)
    most = max(_FEWEST_POINTS, POINTS // len(jobs))
    values: list[Spec] = [
        {
            "job": labels[job.job_id],
            "of": "validation" if loss.validation else "training",
            "x": loss.step if by_step else loss.line,
            "loss": loss.value,
            "tip": _tip_of_loss(labels[job.job_id] if len(jobs) > 1 else "", loss),
        }
        for job in jobs
        for loss in thinned(job.log.losses, most)
    ]
    lowest, highest = min(loss.value for loss in figures), max(loss.value for loss in figures)
    wide = lowest > 0 and highest / lowest > _WIDE_RANGE
    kinds = sorted({value["of"] for value in values})
    place: Spec = {
        "x": {
            "field": "x",
            "type": "quantitative",
            "title": "Step" if by_step else "Line of the log",
            "scale": {"nice": False, "zero": False},
            "axis": {"grid": False, "tickMinStep": 1, "tickCount": {"signal": "max(2, floor(width / 90))"}},
        },
        "y": {
            "field": "loss",
            "type": "quantitative",
            "title": "logarithmic" if wide else None,
            "scale": {"type": "log"} if wide else {"zero": False},
            "axis": {"tickCount": 6},
        },
        "detail": {"field": "job", "type": "nominal"},
    }
    few, named = len(jobs) <= SERIES, len(jobs) <= _MOST_NAMED
    if few:
        place["color"] = {
            "field": "job",
            "type": "nominal",
            "sort": None,
            "scale": {"domain": list(labels.values()), "range": style.palette.series[: len(jobs)]},
            "legend": {"symbolType": "stroke"} if len(jobs) > 1 else None,
        }
    dashes = [[5, 3] if kind == "validation" else [1, 0] for kind in kinds]
    curve = {
        **place,
        "strokeDash": {
            "field": "of",
            "type": "nominal",
            "scale": {"domain": kinds, "range": dashes},
            "legend": {"symbolType": "stroke", "symbolStrokeColor": style.palette["muted"]}
            if len(kinds) > 1
            else None,
        },
    }
    look: Spec = {"color": style.palette["series-1"]}
    line: Spec = {
        "mark": {
            **look,
            "type": "line",
            "strokeWidth": 2 if few else 1.25,
            "strokeOpacity": 1 if few else 0.7 if named else 0.35,
        },
        "encoding": curve if named else {**curve, **_tooltip(style)},
    }
    points: Spec = {"mark": {**look, "type": "point", "filled": True, "size": 44}, "encoding": place}
    layers = [line]
    if few and len(values) <= 30:
        layers.append({**points, "mark": {**points["mark"], "size": 24}})
    if named and style.hover:
        near = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
        here = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
        layers.append(
            {
                **points,
                "params": [{"name": "near", "select": near}],
                "encoding": {**place, "opacity": here, **_tooltip(style)},
            }
        )
    return {
        **style.size(),
        "height": 260,
        "data": {"values": values},
        "layer": layers,
        "config": style.config(),
    }


def requests(wait: WaitFacts, style: Style) -> Spec | None:
    """How many requests ended how, over time; `None` where there were none."""
    if not wait.requests:
        return None
    first = min(asked.at for asked in wait.requests)
    last = max(asked.at for asked in wait.requests)
    width = max((last - first) / _BINS, timedelta(seconds=1))
    bins = Counter((int((asked.at - first) / width), asked.group) for asked in wait.requests)
    groups = [group for group in GROUPS if any(group == found for _, found in bins)]
    bars: list[Spec] = []
    below: Counter[int] = Counter()
    for place, group in sorted(bins, key=lambda each: (each[0], GROUPS.index(each[1]))):
        number, begin = bins[place, group], first + place * width
        bars.append(
            {
                "start": _utc(begin),
                "end": _utc(begin + width),
                "group": group,
                "from": below[place],
                "to": below[place] + number,
                "tip": f"{begin:%H:%M:%S} UTC: {words.some(number, 'request')} {group}",
            }
        )
        below[place] += number
    held: list[Spec] = [
        {
            "start": _utc(at),
            "end": _utc(at + timedelta(seconds=seconds)),
            "tip": f"{at:%H:%M:%S} UTC: no requests for {words.lasting(timedelta(seconds=seconds))}",
        }
        for at, seconds in wait.holds
    ]
    times = [bar[name] for bar in (*bars, *held) for name in ("start", "end")]
    time = _time_axis("UTC", times)
    shade: Spec = {
        "data": {"values": held},
        "mark": {"type": "rect", "color": style.palette["throttled"], "fillOpacity": 0.16},
        "encoding": {"x": {"field": "start", **time}, "x2": {"field": "end"}, **_tooltip(style)},
    }
    stack: Spec = {
        "data": {"values": bars},
        "mark": {"type": "rect", "stroke": style.palette["paper"], "strokeWidth": 0.5},
        "encoding": {
            "x": {"field": "start", **time},
            "x2": {"field": "end"},
            "y": {
                "field": "from",
                "type": "quantitative",
                "title": None,
                "axis": {"format": "d", "tickCount": min(5, max(below.values()))},
            },
            "y2": {"field": "to"},
            "color": {
                "field": "group",
                "type": "nominal",
                "scale": {"domain": groups, "range": [style.palette[OF_GROUP[group]] for group in groups]},
            },
            **_tooltip(style),
        },
    }
    return {
        **style.size(),
        "height": 150,
        "layer": [shade, stack] if held else [stack],
        "config": style.config(),
    }


def picture(facts: Facts, palette: Palette, title: str) -> Spec:
    """The timeline and the losses as one."""
    style = Style(palette, WIDTH)
    drawn = (("Timeline", timeline(facts, style)), ("Loss", losses(facts, style)))
    parts = [
        {
            **{name: value for name, value in chart.items() if name not in ("config", "autosize")},
            "title": {"text": heading},
        }
        for heading, chart in drawn
        if chart is not None
    ]
    if goes_on(facts):
        parts[0]["title"]["subtitle"] = PALE
    empty: Spec = {"data": {"values": []}, "mark": "point", "width": WIDTH, "height": 20}
    return {
        "title": {"text": title, "fontSize": 18, "offset": 18},
        "vconcat": parts or [empty],
        "spacing": 34,
        "resolve": {"scale": {"color": "independent", "shape": "independent", "strokeDash": "independent"}},
        "padding": 20,
        "config": style.config(),
    }


def goes_on(facts: Facts) -> bool:
    """Whether a bar of the timeline ends where it does for want of a better place."""
    clock = clock_of(facts.jobs)
    return any(span.end is None for job in facts.jobs for span in spans_of(job, clock, facts.made_at))


def thinned(figures: Sequence[Loss], most: int) -> list[Loss]:
    """About `most` of the figures: of each stretch the lowest and the highest, so that no spike is lost."""
    kept: list[Loss] = []
    for validation in (False, True):
        chosen = [loss for loss in figures if loss.validation is validation]
        size = -(-2 * len(chosen) // most)
        if size <= 2:
            kept += chosen
            continue
        for place in range(0, len(chosen), size):
            stretch = chosen[place : place + size]
            ends = {min(stretch, key=_value), max(stretch, key=_value)}
            if place + size >= len(chosen):
                ends.add(chosen[-1])
            kept += sorted(ends, key=lambda loss: loss.line)
    return kept


def _value(loss: Loss) -> float:
    return loss.value


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
        "start": _utc(span.start),
        "end": _utc(span.end or edge or span.start),
        "open": span.end is None,
        "tip": f"{label}: {begun} {lasted}" + (f", {job.model}" if job.model else ""),
    }


def _tip_of(job: JobFacts) -> str:
    took = f" after {words.lasting(job.duration)}" if job.duration is not None else ""
    return f"{job.label}: {job.status}{took}" + (f", {job.reason}" if job.reason else "")


def _tip_of_loss(label: str, loss: Loss) -> str:
    where = f"line {loss.line}" if loss.step is None else f"step {loss.step}"
    kind = "validation loss" if loss.validation else "loss"
    return f"{label}: {kind} {loss.value:.6g}, {where}".removeprefix(": ")


def _tooltip(style: Style) -> Spec:
    # What is nearest stands one level deeper than what is under the pointer.
    return {"tooltip": {"value": {"expr": "(datum.datum || datum).tip"}}} if style.hover else {}


def _outcome_scale(names: Sequence[str], looks: Sequence[str]) -> Spec:
    return {"field": "end", "type": "nominal", "scale": {"domain": names, "range": looks}}


def _time_axis(clock: str, times: Sequence[int]) -> Spec:
    return {
        "type": "temporal",
        "scale": {"type": "utc"},  # the clock on the wall, wherever it is looked at
        "title": f"{clock}{_days(min(times), max(times))}",
        "axis": {
            "format": _CLOCK,
            "tickCount": {"signal": "max(2, floor(width / 110))"},
            "labelOverlap": True,
        },
    }


def _days(*times: int) -> str:
    days = [f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d}" for at in times]
    return f", {days[0]}" if days[0] == days[1] else f", {days[0]} to {days[1]}"


def _utc(at: datetime) -> int:
    """Milliseconds; of a time without a zone, as if it were UTC."""
    return round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1000)
