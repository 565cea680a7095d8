"""The log of a job, and the training figures in its lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import attrs

from dashscope_ft_async.models.base import EMPTY_MAPPING, Model

__all__ = ["LogPage", "TrainingMetric"]

_COMPLETE = "##FT_COMPLETE##"


def is_completion_line(line: str) -> bool:
    """Whether `line` marks the end of a log. One or two more lines may follow it."""
    return line.rstrip().endswith(_COMPLETE)


@attrs.frozen(kw_only=True)
class LogPage(Model):
    """A part of a job's log (``GET /fine-tunes/{job_id}/logs``). Iterating over it gives the lines."""

    lines: tuple[str, ...] = ()
    """The lines as the service sent them."""
    total: int | None = None
    """Number of lines of the whole log, if the service says so. It may be out of date."""
    request_id: str | None = None
    """Id of the request."""
    extra: Mapping[str, Any] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All fields that this class does not name."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        of = "" if self.total is None else f" of {self.total}"
        return f"<LogPage {len(self.lines)}{of} lines>"

    @property
    def is_complete(self) -> bool:
        """Whether one of the lines marks the end of the log (``##FT_COMPLETE##``)."""
        return any(map(is_completion_line, self.lines))


@attrs.frozen(kw_only=True)
class TrainingMetric(Model):
    """The figures of one line of a log. Figures that the line does not have are `None`."""

    line: str
    """The line itself."""
    step: int | None = None
    """Number of training steps so far."""
    max_steps: int | None = None
    """Number of training steps of the whole run."""
    epoch: float | None = None
    """Number of passes over the training data so far."""
    loss: float | None = None
    """Training loss at this step."""
    train_loss: float | None = None
    """Mean training loss of the whole run, from the summary at its end."""
    eval_loss: float | None = None
    """Loss on the validation data."""
    learning_rate: float | None = None
    """Learning rate at this step."""
    values: Mapping[str, float] = attrs.field(default=EMPTY_MAPPING, hash=False)
    """All numbers of the line by the names that they have there, including those above."""

    @classmethod
    def from_line(cls, line: str) -> TrainingMetric | None:
        """Return the figures of `line`, or `None` if it has no loss in one of the two known formats.

        - A flat dictionary as Python prints it: the sample of the page "Query fine-tuning logs"
          (https://www.alibabacloud.com/help/en/model-studio/get-fine-tuning-job-logs-api), and logs
          published by users, which have ``'global_step/max_steps': '3/3'``.
        - ``epoch [1][5/13]`` or ``epoch(eval) [1][100]``, a tab, then ``name: number, …``: the output in
          the official cookbook (dashscope/dash-cookbook, 2023).
        """
        if len(line) > _LONGEST_LINE:
            return None
        if _DICTIONARY.fullmatch(line):
            return _from_dictionary(line)
        match = _EPOCH_LINE.fullmatch(line)
        return None if match is None else _from_epoch_line(line, match)


_LONGEST_LINE = 4096
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?"
_PLAIN_NUMBER = re.compile(_NUMBER, re.ASCII)
_PAIR = rf"'(?P<name>[^'\\]+)': (?:'(?P<text>[^'\\]*)'|(?P<number>{_NUMBER})|None|True|False|nan|-?inf)"
_ANY_PAIR = re.sub(r"\?P<\w+>", "?:", _PAIR)
_PAIRS = re.compile(_PAIR, re.ASCII)
_DICTIONARY = re.compile(rf"\s*\{{{_ANY_PAIR}(?:, {_ANY_PAIR})*\}}\s*", re.ASCII)
_STEPS = re.compile(r"(\d{1,12})/(\d{1,12})", re.ASCII)
_EPOCH_LINE = re.compile(
    rf".* -  ?epoch(?P<eval>\(eval\))? \[(?P<epoch>\d{{1,9}})\]\[\d+(?:/\d+)?\]\t"
    rf"(?P<pairs>[\w/]+: {_NUMBER}(?:, [\w/]+: {_NUMBER})*)\s*",
    re.ASCII,
)
_LOSSES = ("loss", "train_loss", "eval_loss")
_NAMED = (*_LOSSES, "epoch", "learning_rate")


def _from_dictionary(line: str) -> TrainingMetric | None:
    values: dict[str, float] = {}
    step = max_steps = None
    for pair in _PAIRS.finditer(line):
        name, number = pair["name"], _finite_number(pair["number"] or pair["text"])
        steps = _STEPS.fullmatch(pair["text"] or "") if name == "global_step/max_steps" else None
        if steps is not None:
            step, max_steps = int(steps[1]), int(steps[2])
        elif number is not None:
            values[name] = number
    return _metric(line, values, values, step, max_steps)


def _from_epoch_line(line: str, match: re.Match[str]) -> TrainingMetric | None:
    pairs = (pair.split(": ") for pair in match["pairs"].split(", "))
    values = {name: number for name, text in pairs if (number := _finite_number(text)) is not None}
    named = {
        "loss": values.get("loss"),
        "eval_loss": values.get("evaluation/loss") if match["eval"] else None,
        "learning_rate": values.get("lr"),
        "epoch": float(match["epoch"]),
    }
    return _metric(line, values, named)


def _metric(
    line: str,
    values: Mapping[str, float],
    named: Mapping[str, float | None],
    step: int | None = None,
    max_steps: int | None = None,
) -> TrainingMetric | None:
    if all(named.get(name) is None for name in _LOSSES):
        return None
    figures = {name: named.get(name) for name in _NAMED}
    return TrainingMetric(line=line, step=step, max_steps=max_steps, values=values, **figures)


def _finite_number(text: str | None) -> float | None:
    if text is None or _PLAIN_NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if isfinite(number) else None
