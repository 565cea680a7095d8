"""Training figures in lines of logs: the known formats, and nothing that only resembles them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashscope_ft_async import TrainingMetric

SUMMARY = (
    "{'train_runtime': 216.3999, 'train_samples_per_second': 2.066, 'train_steps_per_second': 0.014, "
    "'train_loss': 0.9122632344563802, 'epoch': 0.8571428571428571}"
)
STEP = (
    "{'learning_rate': 0.0, 'consumed_train_samples': 48, 'consumed_train_tokens': 393216, "
    "'global_step/max_steps': '3/3', 'loss': 1.00644}"
)
EVALUATION = "{'eval_loss': 1.1319, 'eval_ppl': 3.1014094824472096, 'global_step/max_steps': '3/3'}"
LOGGED = (
    "2023-09-11 11:26:02,870 - dashscope - INFO -  epoch [1][5/13]\tlr: 2.000e-06, memory: 16580, "
    "loss: 6.1750, consumed_train_tokens: 12595.0000"
)
LOGGED_EVALUATION = (
    "2023-09-11 11:26:11,664 - dashscope - INFO -  epoch(eval) [1][100]\tmemory: 16730, "
    "evaluation/acc: 0.3038, evaluation/loss: 6.2675"
)


def test_the_summary_at_the_end() -> None:
    metric = TrainingMetric.from_line(SUMMARY)

    assert metric is not None
    assert (metric.train_loss, metric.loss, metric.step) == (0.9122632344563802, None, None)
    assert metric.epoch == 0.8571428571428571
    assert metric.values["train_runtime"] == 216.3999
    assert metric.line == SUMMARY


def test_a_step() -> None:
    metric = TrainingMetric.from_line(STEP)

    assert metric is not None
    assert (metric.step, metric.max_steps, metric.loss, metric.learning_rate) == (3, 3, 1.00644, 0.0)
    assert metric.values == {
        "learning_rate": 0.0,
        "consumed_train_samples": 48,
        "consumed_train_tokens": 393216,
        "loss": 1.00644,
    }


def test_the_number_of_steps_is_read_from_its_own_field_only() -> None:
    metric = TrainingMetric.from_line(STEP.replace("3/3", "2/7").replace("}", ", 'other': '5/9'}"))

    assert metric is not None
    assert (metric.step, metric.max_steps) == (2, 7)


def test_an_evaluation() -> None:
    metric = TrainingMetric.from_line(f" {EVALUATION}\n")

    assert metric is not None
    assert (metric.step, metric.eval_loss, metric.loss) == (3, 1.1319, None)


def test_the_format_of_the_cookbook() -> None:
    metric, evaluation = TrainingMetric.from_line(LOGGED), TrainingMetric.from_line(LOGGED_EVALUATION)

    assert metric is not None
    assert metric.line == LOGGED
    assert (metric.epoch, metric.loss, metric.learning_rate, metric.step) == (1.0, 6.175, 2e-06, None)
    assert metric.values["consumed_train_tokens"] == 12595.0
    assert evaluation is not None
    assert (evaluation.epoch, evaluation.eval_loss, evaluation.loss) == (1.0, 6.2675, None)


@pytest.mark.parametrize(
    "line",
    [
        "",
        " Actual number of consumed tokens is 279808!",
        "2026-01-05 10:52:39,130 - INFO - training usage 279808",
        "2026-01-05 10:52:39,175 - INFO - ##FT_COMPLETE##",
        "the loss is 0.5",
        "{'epoch': 0.5}",
        "{'loss': 'low'}",
        "{'loss': nan}",
        "{'loss': 1e999}",
        "{'loss': 0.5",
        "{'loss': 0.5} and more",
        "{'loss': {'loss': 0.5}}",
        '{"loss": 0.5}',
        "{'loss': ٣}",
        "{'loss': 0.5, 'x': __import__('os')}",
        LOGGED.replace("loss: 6.1750, ", ""),
        LOGGED_EVALUATION.replace("(eval)", ""),
        SUMMARY.replace("}", ", 'x': '" + "y" * 5000 + "'}"),
    ],
)
def test_a_line_without_a_loss_in_a_known_format_has_no_figures(line: str) -> None:
    assert TrainingMetric.from_line(line) is None


@given(
    st.text()
    | st.lists(st.sampled_from([*"{}',: 0e.", "'loss': ", "0.5", ", ", "epoch [1][5/13]\t", " - "])).map(
        "".join
    )
)
def test_any_line_has_figures_or_none(line: str) -> None:
    metric = TrainingMetric.from_line(line)

    assert metric is None or metric.line == line


def test_a_line_made_to_be_slow_is_fast() -> None:
    for line in (
        "{" + "'a': 1, " * 400 + "x",
        " -  epoch [1][5/13]\t" + "a: 1, " * 600 + "x",
        " - " * 1300,
    ):
        assert TrainingMetric.from_line(line) is None
