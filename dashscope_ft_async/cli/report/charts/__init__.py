"""How facts are drawn: pure, from facts to specifications of Vega-Lite."""

from __future__ import annotations

from dashscope_ft_async.cli.report.charts.curves import is_thinned, losses
from dashscope_ft_async.cli.report.charts.gantt import PALE, goes_on, timeline
from dashscope_ft_async.cli.report.charts.requests import requests
from dashscope_ft_async.cli.report.charts.style import FONT, WIDTH, Spec, Style
from dashscope_ft_async.cli.report.colours import Palette
from dashscope_ft_async.cli.report.facts import Facts

__all__ = [
    "FONT",
    "PALE",
    "WIDTH",
    "Spec",
    "Style",
    "goes_on",
    "is_thinned",
    "losses",
    "picture",
    "requests",
    "timeline",
]


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
