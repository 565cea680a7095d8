"""How facts are drawn: pure, from facts to specifications of Vega-Lite."""

from __future__ import annotations

from dashscope_ft_async.cli.report import words
from dashscope_ft_async.cli.report.charts.curves import is_thinned, losses
from dashscope_ft_async.cli.report.charts.gantt import PALE, goes_on, timeline
from dashscope_ft_async.cli.report.charts.requests import SHADED, requests
from dashscope_ft_async.cli.report.charts.style import FONT, WIDTH, Spec, Style
from dashscope_ft_async.cli.report.colours import Palette
from dashscope_ft_async.cli.report.facts import Facts, WaitFacts

__all__ = [
    "FONT",
    "PALE",
    "SHADED",
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
    """All charts as one, with what the tables of the page tell in a few words."""
    style, wait = Style(palette, WIDTH), facts.wait or WaitFacts()
    drawn = (
        ("Timeline", PALE if goes_on(facts) else "", timeline(facts, style, told=True)),
        ("Loss", "", losses(facts, style)),
        ("Requests", SHADED if wait.holds else "", requests(wait, style)),
    )
    parts = [
        {
            **{name: value for name, value in chart.items() if name not in ("config", "autosize")},
            "title": {"text": heading, **({"subtitle": remark} if remark else {})},
        }
        for heading, remark, chart in drawn
        if chart is not None
    ]
    empty: Spec = {"data": {"values": []}, "mark": "point", "width": WIDTH, "height": 20}
    one = words.in_short(facts.jobs[0], status=True) if len(facts.jobs) == 1 else ""
    return {
        "title": {"text": title, "fontSize": 18, "offset": 18, **({"subtitle": one} if one else {})},
        "vconcat": parts or [empty],
        "spacing": 34,
        "resolve": {"scale": {"color": "independent", "shape": "independent", "strokeDash": "independent"}},
        "padding": 20,
        "config": style.config(),
    }
