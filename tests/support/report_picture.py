"""Draws docs/assets/report.svg, of jobs that never were: python -m tests.support.report_picture."""

from __future__ import annotations

import random
from datetime import timedelta

from dashscope_ft_async.cli.report import charts, draw
from dashscope_ft_async.cli.report.colours import LIGHT
from dashscope_ft_async.cli.report.facts import JobFacts
from tests.support.paths import ROOT
from tests.support.report_world import CREATED, known, log_of, report

ASSET = ROOT / "docs/assets/report.svg"
JOBS = (
    ("faq-bot", "SUCCEEDED", 0, 6, 74),
    ("summaries", "FAILED", 4, 9, 31),
    ("问答机器人", "SUCCEEDED", 7, 40, 52),
    ("translator", "SUCCEEDED", 11, 55, 61),
    ("mistake", "CANCELED", 20, 50, 8),
    ("classifier", "RUNNING", 31, 48, 60),
)


def _job(name: str, status: str, created: int, queued: int, trained: int) -> JobFacts:
    chance = random.Random(name)
    at = CREATED + timedelta(minutes=created)
    lines = [f"{at + timedelta(minutes=queued):%Y-%m-%d %H:%M:%S},136 - INFO - start to fine-tune"]
    height = chance.uniform(0.6, 1.1)
    for step in range(1, trained + 1):
        loss = height + 2 / (1 + step / 7) + chance.uniform(0, 0.08)
        lines.append(f"{{'loss': {loss:.4f}, 'global_step/max_steps': '{step}/74'}}")
    return known(
        f"ft-{name}",
        status,
        job_name=name,
        create_time=at,
        minutes=created + queued + trained,
        usage=None if status == "RUNNING" else trained * 3_781,
        log=log_of(lines),
    )


if __name__ == "__main__":
    spec = charts.picture(report(*(_job(*each) for each in JOBS)), LIGHT, "6 fine-tuning jobs")
    ASSET.write_text(draw.svg(spec) + "\n", encoding="utf-8")
