"""``python -m bench.captures``: the pictures of the live view in docs/assets, of real runs on terminals.

The service is a simulator in this process, the command a child on a pseudo-terminal; half a minute.
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
_MORNING = datetime(2026, 1, 5, 9, 12)  # noqa: DTZ001 - the service names no zone
_MODELS = ("qwen3-14b", "qwen3-8b", "qwen3-32b", "qwen-vl-plus")
_NAMES = ("客服问答", "summaries", "translate-zh-en", "faq-bot", "合同审查", "night-shift", "tone-of-voice")


def log_of(steps: int, done: int) -> list[tuple[float, str]]:
    """A line a second, and `done` at once."""
    lines: list[tuple[float, str]] = []
    for step in range(1, steps + 1):
        way = step / steps
        loss = 0.55 + 1.9 * exp(-5 * way) + (0.1 + 0.2 * exp(-4 * way)) * sin(2.6 * step) * sin(0.7 * step)
        told = f"{{'loss': {loss:.4f}, 'epoch': {3 * way:.2f}, 'global_step/max_steps': '{step}/{steps}'}}"
        lines.append((max(0, step - done), told))
    return lines


def add(service: Simulator, number: int, status: str, **fields: object) -> str:
    """One more job of the account."""
    created = _MORNING + timedelta(minutes=7 * number, seconds=number)
    given: dict[str, object] = {
        "job_id": f"ft-{created:%Y%m%d%H%M}-{(number * 40503 + 7) % 65536:04x}",
        "job_name": _NAMES[number % len(_NAMES)],
        "model": _MODELS[number % len(_MODELS)],
        "create_time": f"{created:%Y-%m-%d %H:%M:%S}",
    }
    return service.add_job([(0, status)], **(given | fields))  # type: ignore[arg-type]


def end(service: Simulator, job_id: str, status: str, after: float, minutes: int, **fields: object) -> None:
    """Let the job end in so many seconds, as one that took so many minutes."""
    ended = datetime.strptime(job_id.split("-")[1], "%Y%m%d%H%M") + timedelta(minutes=minutes)  # noqa: DTZ007
    told = {"end_time": f"{ended:%Y-%m-%d %H:%M:%S}"} | fields
    asyncio.get_running_loop().call_later(after, partial(service.set_status, job_id, status, **told))


def a_day(service: Simulator, ended: int, queued: int) -> list[str]:
    """The jobs of an account; `ended` of them end one after the other at the start of the watch."""
    for number in range(ended):
        job_id, after = add(service, number, "RUNNING"), 3 + number / 2
        model = _MODELS[number % len(_MODELS)]
        match number % 5:
            case 1:
                said = {"code": "InvalidTrainingData", "message": f"line {17 + number} is not valid JSON"}
                end(service, job_id, "FAILED", after, 4, **said)
            case 2:
                end(service, job_id, "CANCELED", after, 31, usage=0)
            case _:
                told = {"usage": 279_808 + 70_123 * number, "finetuned_output": f"{model}-{job_id}"}
                end(service, job_id, "SUCCEEDED", after, 92 + 9 * number, **told)
    add(service, ended, "RUNNING", log=log_of(240, 150), output_cnt=3, max_output_cnt=5)
    for number in range(ended + 1, ended + queued):
        add(service, number, "QUEUING")
    add(service, ended + queued, "PENDING")
    asyncio.get_running_loop().call_later(5, service.fail_next, Fault.html(502), Fault.reset())
    return ["--all"]


def throttled(service: Simulator) -> list[str]:
    """More of them, and the account is asked too often."""
    asyncio.get_running_loop().call_later(22, partial(service.throttle, 60, retry_after=14))
    return a_day(service, 14, 18)


def many(service: Simulator) -> list[str]:
    """Five hundred jobs, most of them over or in line."""
    kinds = ["SUCCEEDED"] * 23 + ["FAILED"] + ["CANCELED"]
    job_ids = [add(service, number, "RUNNING") for number in range(200)]
    for number, job_id in enumerate(job_ids):
        kind = kinds[number % len(kinds)]
        told: dict[str, object] = {
            "SUCCEEDED": {"usage": 1_000 * number + 7_919, "finetuned_output": f"qwen3-8b-{job_id}"},
            "FAILED": {"code": "InternalError", "message": "the job could not be scheduled"},
            "CANCELED": {"usage": 0},
        }[kind]  # type: ignore[assignment]
        end(service, job_id, kind, 1, 30 + number % 50, **told)
    for number in range(200, 203):
        log = log_of(240, 20 + 60 * (number - 200))
        job_ids.append(add(service, number, "RUNNING", log=log, output_cnt=number - 200, max_output_cnt=3))
    job_ids += [add(service, number, "QUEUING") for number in range(203, 420)]
    job_ids += [add(service, number, "PENDING") for number in range(420, 500)]
    return job_ids


def one(service: Simulator) -> list[str]:
    """One job, well on its way."""
    log = log_of(240, 150)
    return [add(service, 0, "RUNNING", log=log, output_cnt=3, max_output_cnt=5, usage=174_080)]


@attrs.frozen
class Picture:
    """What is to be seen, and when."""

    name: str
    play: Callable[[Simulator], list[str]]
    columns: int
    lines: int
    seconds: float


PICTURES = (
    Picture("live-80x24", partial(a_day, ended=5, queued=9), 80, 24, 25),
    Picture("live-120x40", throttled, 120, 40, 27),
    Picture("live-500", many, 100, 30, 20),
    Picture("live-one", one, 80, 24, 20),
)


async def take(picture: Picture) -> None:
    """Let it happen, and keep what is on the screen then."""
    async with Simulator() as service:
        command = ["watch", *picture.play(service)]
        environment = {"DASHSCOPE_API_KEY": "sk-simulated", "DASHSCOPE_BASE_URL": service.base_url}
        async with Terminal(command, picture.columns, picture.lines, environment) as terminal:
            await terminal.until(lambda text: "connection ok" in text)
            await asyncio.sleep(picture.seconds)
            await terminal.still()
            svg = terminal.svg(
                "dashscope-ft watch --all" if command[1] == "--all" else "dashscope-ft watch"
            )
            (_ASSETS / f"{picture.name}.svg").write_text(svg, encoding="utf-8")
            print(terminal.text, end="\n\n")


async def main(names: list[str]) -> None:
    """All, or those named."""
    await asyncio.gather(*(take(picture) for picture in PICTURES if not names or picture.name in names))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
