"""The requests of a wait."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from dashscope_ft_async.cli.report import words
from dashscope_ft_async.cli.report.charts.style import Spec, Style, time_axis, tooltip, utc_of
from dashscope_ft_async.cli.report.colours import OF_GROUP
from dashscope_ft_async.cli.report.facts import GROUPS, WaitFacts

_BINS = 60
SHADED = "Shaded: no requests went out, because the account was throttled."


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
                "start": utc_of(begin),
                "end": utc_of(begin + width),
                "group": group,
                "from": below[place],
                "to": below[place] + number,
                "tip": f"{begin:%H:%M:%S} UTC: {words.some(number, 'request')} {group}",
            }
        )
        below[place] += number
    held: list[Spec] = [
        {
            "start": utc_of(at),
            "end": utc_of(at + timedelta(seconds=seconds)),
            "tip": f"{at:%H:%M:%S} UTC: no requests for {words.lasting(timedelta(seconds=seconds))}",
        }
        for at, seconds in wait.holds
    ]
    times = [bar[name] for bar in (*bars, *held) for name in ("start", "end")]
    time = time_axis("UTC", times)
    shade: Spec = {
        "data": {"values": held},
        "mark": {"type": "rect", "color": style.palette["throttled"], "fillOpacity": 0.16},
        "encoding": {"x": {"field": "start", **time}, "x2": {"field": "end"}, **tooltip(style)},
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
            **tooltip(style),
        },
    }
    return {
        **style.size(),
        "height": 150,
        "layer": [shade, stack] if held else [stack],
        "config": style.config(),
    }
