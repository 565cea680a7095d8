"""``python -m bench.captures``: take the pictures of the live view in docs/assets, each of a real run.

The service is a simulator in this process, the command a child on a pseudo-terminal. Takes half a minute.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from math import exp, sin
from pathlib import Path

import attrs

from dashscope_ft_async.testing import Fault, Simulator
from tests.support.terminal import Terminal

_ASSETS = Path(__file__).parents[1] / "docs" / "assets"
_CREATED = datetime(2026, 1, 5, 9, 12)  # noqa: DTZ001 - the service's times have no zone
_MODELS = ("qwen3-14b", "qwen3-8b", "qwen3-32b", "qwen-vl-plus")
_NAMES = ("客服问答", "summaries", "translate-zh-en", "faq-bot", "合同审查", "night-shift", "tone-of-voice")


def log(steps: int, done: int) -> list[tuple[float, str]]:
    """A training log: the first `done` lines at once, then one line per second."""
    lines: list[tuple[float, str]] = []
    for step in range(1, steps + 1):
        part = step / steps
        noise = (0.1 + 0.2 * exp(-4 * part)) * sin(2.6 * step) * sin(0.7 * step)
        loss = 0.55 + 1.9 * exp(-5 * part) + noise
        line = f"{{'loss': {loss:.4f}, 'epoch': {3 * part:.2f}, 'global_step/max_steps': '{step}/{steps}'}}"
        lines.append((max(0, step - done), line))
    return lines


def add(service: Simulator, number: int, status: str, **fields: object) -> str:
    """Add a job to the account."""
    created = _CREATED + timedelta(minutes=7 * number, seconds=number)
    defaults: dict[str, object] = {
        "job_id": f"ft-{created:%Y%m%d%H%M}-{(number * 40503 + 7) % 65536:04x}",
        "job_name": _NAMES[number % len(_NAMES)],
        "model": _MODELS[number % len(_MODELS)],
        "create_time": f"{created:%Y-%m-%d %H:%M:%S}",
    }
    return service.add_job([(0, status)], **(defaults | fields))  # type: ignore[arg-type]


def end(service: Simulator, job_id: str, number: int, status: str, after: float, minutes: int) -> None:
    """Let the job end after so many seconds, with an end time of so many minutes after its creation."""
    ended = datetime.strptime(job_id.split("-")[1], "%Y%m%d%H%M") + timedelta(minutes=minutes)  # noqa: DTZ007
    endings: dict[str, dict[str, object]] = {
        "SUCCEEDED": {
            "usage": 279_808 + 7_919 * number,
            "finetuned_output": f"{_MODELS[number % len(_MODELS)]}-{job_id}",
        },
        "FAILED": {"code": "InvalidTrainingData", "message": f"line {17 + number} is not valid JSON"},
        "CANCELED": {"usage": 0},
    }
    fields = endings[status] | {"end_time": f"{ended:%Y-%m-%d %H:%M:%S}"}
    asyncio.get_running_loop().call_later(after, partial(service.set_status, job_id, status, **fields))


def account(service: Simulator, ended: int, queued: int) -> list[str]:
    """The jobs of an account, of which some end one after the other; two requests fail."""
    statuses = ("SUCCEEDED", "FAILED", "CANCELED", "SUCCEEDED", "SUCCEEDED")
    for number in range(ended):
        job_id = add(service, number, "RUNNING")
        end(service, job_id, number, statuses[number % 5], 3 + number / 2, (92, 4, 31)[number % 3] + number)
    add(service, ended, "RUNNING", log=log(240, 150), output_cnt=3, max_output_cnt=5)
    for number in range(ended + 1, ended + queued):
        add(service, number, "QUEUING")
    add(service, ended + queued, "PENDING")
    asyncio.get_running_loop().call_later(5, service.fail_next, Fault.html(502), Fault.reset())
    return ["--all"]


def throttled(service: Simulator) -> list[str]:
    """More jobs, and the account is throttled."""
    asyncio.get_running_loop().call_later(22, partial(service.throttle, 60, retry_after=14))
    return account(service, 14, 18)


def many(service: Simulator) -> list[str]:
    """500 jobs, of which 200 end at once and most of the others are queued."""
    statuses = ["SUCCEEDED"] * 23 + ["FAILED", "CANCELED"]
    job_ids = [add(service, number, "RUNNING") for number in range(200)]
    for number, job_id in enumerate(job_ids):
        end(service, job_id, number, statuses[number % len(statuses)], 1, 30 + number % 50)
    for number in range(3):
        steps = log(240, 20 + 60 * number)
        job_ids.append(
            add(service, 200 + number, "RUNNING", log=steps, output_cnt=number, max_output_cnt=3)
        )
    job_ids += [add(service, number, "QUEUING") for number in range(203, 420)]
    return job_ids + [add(service, number, "PENDING") for number in range(420, 500)]


def one(service: Simulator) -> list[str]:
    """One job that has been running for a while."""
    steps = log(240, 150)
    return [add(service, 0, "RUNNING", log=steps, output_cnt=3, max_output_cnt=5, usage=174_080)]


@attrs.frozen
class Picture:
    """A run of ``dashscope-ft watch``, and when its picture is taken."""

    name: str
    prepare: Callable[[Simulator], list[str]]
    """Adds jobs to the service. Returns the arguments of the command."""
    columns: int
    lines: int
    seconds: float


PICTURES = (
    Picture("live-80x24", partial(account, ended=5, queued=9), 80, 24, 25),
    Picture("live-120x40", throttled, 120, 40, 27),
    Picture("live-500", many, 100, 30, 20),
    Picture("live-one", one, 80, 24, 20),
)


async def take(picture: Picture) -> None:
    """Run the command and save its screen."""
    async with Simulator() as service:
        arguments = picture.prepare(service)
        environment = {"DASHSCOPE_API_KEY": "sk-simulated", "DASHSCOPE_BASE_URL": service.base_url}
        command = ["watch", *arguments]
        async with Terminal(command, picture.columns, picture.lines, environment) as terminal:
            await terminal.until(lambda text: "connection ok" in text)
            await asyncio.sleep(picture.seconds)
            await terminal.still()
            title = "dashscope-ft watch --all" if arguments == ["--all"] else "dashscope-ft watch"
            (_ASSETS / f"{picture.name}.svg").write_text(terminal.svg(title), encoding="utf-8")
            print(terminal.text, end="\n\n")


async def main(names: list[str]) -> None:
    """Take all pictures, or those of these names."""
    await asyncio.gather(*(take(picture) for picture in PICTURES if not names or picture.name in names))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
