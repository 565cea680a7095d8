"""Training figures in log lines. A line that is not surely one of the forms below is a line, no metric.

The forms, and where they were seen:

- a flat dict as Python prints it: the sample of the page "Query fine-tuning logs"
  (https://www.alibabacloud.com/help/en/model-studio/get-fine-tuning-job-logs-api), and lines with
  ``'global_step/max_steps': '3/3'`` in logs that users have published;
- ``epoch [1][5/13]`` or ``epoch(eval) [1][100]`` and then ``name: number, …``: the recorded output of the
  official cookbook (dashscope/dash-cookbook, 2023).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

from dashscope_ft_async.models import TrainingMetric

_MOST = 4096
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?"
_PAIR = rf"'(?P<name>[^'\\]+)': (?:'(?P<text>[^'\\]*)'|(?P<number>{_NUMBER})|None|True|False|nan|-?inf)"
_ANY_PAIR = re.sub(r"\?P<\w+>", "?:", _PAIR)
_PAIRS = re.compile(_PAIR, re.ASCII)
_DICT = re.compile(rf"\s*\{{{_ANY_PAIR}(?:, {_ANY_PAIR})*\}}\s*", re.ASCII)
_STEPS = re.compile(r"(\d{1,12})/(\d{1,12})", re.ASCII)
_LOGGED = re.compile(
    rf".* -  ?epoch(?P<eval>\(eval\))? \[(?P<epoch>\d{{1,9}})\]\[\d+(?:/\d+)?\]\t"
    rf"(?P<pairs>[\w/]+: {_NUMBER}(?:, [\w/]+: {_NUMBER})*)\s*",
    re.ASCII,
)
_LOSSES = ("loss", "train_loss", "eval_loss")


def metric_of(line: str) -> TrainingMetric | None:
    """What `line` says about the training, or `None`. It names a loss, or it is no metric."""
    if len(line) > _MOST:
        return None
    if _DICT.fullmatch(line):
        return _from_dict(line)
    logged = _LOGGED.fullmatch(line)
    return None if logged is None else _from_logged(line, logged)


def _from_dict(line: str) -> TrainingMetric | None:
    values: dict[str, float] = {}
    step = max_steps = None
    for pair in _PAIRS.finditer(line):
        name, number = pair["name"], _number(pair["number"] or pair["text"])
        steps = _STEPS.fullmatch(pair["text"] or "") if name == "global_step/max_steps" else None
        if steps is not None:
            step, max_steps = int(steps[1]), int(steps[2])
        elif number is not None:
            values[name] = number
    return _metric(line, values, values, step, max_steps)


def _from_logged(line: str, logged: re.Match[str]) -> TrainingMetric | None:
    pairs = (pair.split(": ") for pair in logged["pairs"].split(", "))
    values = {name: number for name, text in pairs if (number := _number(text)) is not None}
    named = {
        "loss": values.get("loss"),
        "eval_loss": values.get("evaluation/loss") if logged["eval"] else None,
        "learning_rate": values.get("lr"),
        "epoch": float(logged["epoch"]),
    }
    return _metric(line, values, {name: value for name, value in named.items() if value is not None})


def _metric(
    line: str,
    values: Mapping[str, float],
    named: Mapping[str, float],
    step: int | None = None,
    max_steps: int | None = None,
) -> TrainingMetric | None:
    if not any(name in named for name in _LOSSES):
        return None
    return TrainingMetric(
        line=line,
        step=step,
        max_steps=max_steps,
        epoch=named.get("epoch"),
        loss=named.get("loss"),
        train_loss=named.get("train_loss"),
        eval_loss=named.get("eval_loss"),
        learning_rate=named.get("learning_rate"),
        values=values,
    )


_PLAIN = re.compile(_NUMBER, re.ASCII)


def _number(text: str | None) -> float | None:
    if text is None or _PLAIN.fullmatch(text) is None:
        return None
    number = float(text)
    return number if isfinite(number) else None
