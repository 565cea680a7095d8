"""The losses of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dashscope_ft_async.cli.report.charts.style import MOST_NAMED, Spec, Style, tooltip
from dashscope_ft_async.cli.report.colours import SERIES
from dashscope_ft_async.cli.report.facts import Facts, JobFacts, Loss, by_time, labels_of

_POINTS, _FEWEST_POINTS = 4_000, 12
_WIDE_RANGE = 100.0


def losses(facts: Facts, style: Style) -> Spec | None:
    """The loss of each job as its log tells it; `None` where no log tells one."""
    jobs = [job for job in by_time(facts.jobs) if job.log.losses]
    if not jobs:
        return None
    labels = labels_of(jobs)
    figures = [loss for job in jobs for loss in job.log.losses]
    by_step = all(loss.step is not None for loss in figures)
    most = _most_points(jobs)
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
    few, named = len(jobs) <= SERIES, len(jobs) <= MOST_NAMED
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
        "encoding": curve if named else {**curve, **tooltip(style)},
    }
    points: Spec = {"mark": {**look, "type": "point", "filled": True, "size": 44}, "encoding": place}
    layers = [line]
    figures_of = Counter((value["job"], value["of"]) for value in values)
    every = few and len(values) <= 30
    # A line needs two points.
    dots = [value for value in values if every or figures_of[value["job"], value["of"]] == 1]
    if dots:
        layers.append(
            {
                **points,
                "data": {"values": dots},
                "mark": {**points["mark"], "size": 24},
                "encoding": place if named else {**place, **tooltip(style)},
            }
        )
    if named and style.hover:
        near = {"type": "point", "on": "pointerover", "nearest": True, "clear": "pointerout"}
        here = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
        layers.append(
            {
                **points,
                "params": [{"name": "near", "select": near}],
                "encoding": {**place, "opacity": here, **tooltip(style)},
            }
        )
    return {
        **style.size(),
        "height": 260,
        "data": {"values": values},
        "layer": layers,
        "config": style.config(),
    }


def is_thinned(facts: Facts) -> bool:
    """Whether not every figure is drawn."""
    jobs = [job for job in facts.jobs if job.log.losses]
    return any(len(thinned(job.log.losses, _most_points(jobs))) < len(job.log.losses) for job in jobs)


def _most_points(jobs: Sequence[JobFacts]) -> int:
    return max(_FEWEST_POINTS, _POINTS // len(jobs))


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


def _tip_of_loss(label: str, loss: Loss) -> str:
    where = f"line {loss.line}" if loss.step is None else f"step {loss.step}"
    kind = "validation loss" if loss.validation else "loss"
    return f"{label}: {kind} {loss.value:.6g}, {where}".removeprefix(": ")
