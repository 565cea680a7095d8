"""The trigger as a triggerer runs it, the operator and the sensor, and the provider metadata."""

from __future__ import annotations

import asyncio
import json
import re
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pkgutil import resolve_name
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager
from airflow.triggers.base import TriggerEvent

from dashscope_ft_async import ConfigurationError, PollPolicy
from dashscope_ft_async.airflow import (
    DashScopeHook,
    FineTuneSensor,
    FineTuneTrigger,
    WaitForFineTuneOperator,
)
from dashscope_ft_async.testing import Fault, Simulator

try:
    from airflow.sdk.exceptions import AirflowNotFoundException, TaskDeferred
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import AirflowNotFoundException, TaskDeferred

KEY = "sk-0123456789abcdefSECRET"
QUICK = PollPolicy(initial=0.05, max_interval=0.05)


@pytest.fixture
async def service(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as simulator:
        connect(monkeypatch, host=simulator.base_url, password=KEY)
        yield simulator


def connect(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DASHSCOPE_DEFAULT", json.dumps({"conn_type": "dashscope"} | facts))


async def fired(trigger: FineTuneTrigger) -> list[Any]:
    events: list[TriggerEvent] = [event async for event in trigger.run()]
    assert len(events) == 1
    return list(events[0].payload["jobs"])


def again(trigger: FineTuneTrigger) -> FineTuneTrigger:
    """The trigger as the next triggerer gets it: by its name and JSON."""
    name, values = trigger.serialize()
    made: FineTuneTrigger = resolve_name(name)(**json.loads(json.dumps(values)))
    return made


async def test_the_event_has_all_jobs_in_the_given_order(service: Simulator) -> None:
    late = service.add_job([(0, "RUNNING"), (0.2, "SUCCEEDED")])
    failed = service.add_job([(0, "FAILED")], code="InvalidData", message="line 17")

    outcomes = await fired(FineTuneTrigger([late, failed, "ft-unknown"], poll=QUICK))

    assert [(one["job_id"], one["status"], one["error"]) for one in outcomes] == [
        (late, "SUCCEEDED", None),
        (failed, "FAILED", "JobFailedError"),
        ("ft-unknown", None, "NotFoundError"),
    ]
    assert outcomes[0]["finetuned_output"] == f"qwen3-14b-{late}"
    assert "line 17" in outcomes[1]["reason"]


async def test_a_thousand_triggers_share_one_client(service: Simulator) -> None:
    ids = [service.add_job([(0, "RUNNING"), (1.5, "SUCCEEDED")]) for _ in range(1000)]

    ends = await asyncio.gather(*(fired(FineTuneTrigger(one)) for one in ids))

    assert all(end[0]["status"] == "SUCCEEDED" for end in ends)
    # Each alone would take two polls or more, and none would be answered by a page of the list.
    assert sum(seen.path.endswith("/fine-tunes") for seen in service.requests) > 0
    assert len(service.requests) < 2 * len(ids)


async def test_a_restart_keeps_the_deadline_and_the_polling_interval(service: Simulator) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    began = datetime.now(UTC) - timedelta(hours=1)
    first = FineTuneTrigger(job_id, started=began, deadline=datetime.now(UTC) + timedelta(seconds=1.5))
    running = asyncio.create_task(fired(first))
    await asyncio.sleep(0.3)
    running.cancel()  # the triggerer dies
    await asyncio.gather(running, return_exceptions=True)

    second = again(first)
    async with asyncio.timeout(10):
        [outcome] = await fired(second)

    assert (second.started, second.deadline) == (first.started, first.deadline)
    assert outcome["error"] == "WaitTimeoutError"
    assert outcome["status"] == "RUNNING"
    assert 0 <= (datetime.now(UTC) - first.deadline).total_seconds() < 1  # type: ignore[operator] # it is set
    # A wait an hour old asks every half minute: on each start, and at the deadline.
    assert service.polls(job_id) == 3


async def test_after_a_deadline_that_passed_without_a_triggerer_one_last_poll_is_made(
    service: Simulator,
) -> None:
    ended, running = service.add_job([(0, "SUCCEEDED")]), service.add_job([(0, "RUNNING")])
    past = datetime.now(UTC) - timedelta(hours=1)

    outcomes = await fired(again(FineTuneTrigger([ended, running], started=past, deadline=past)))

    assert [one["error"] for one in outcomes] == [None, "WaitTimeoutError"]


async def test_a_cancelled_trigger_leaves_no_task_and_does_not_touch_the_job(service: Simulator) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    before = asyncio.all_tasks()
    running = asyncio.create_task(fired(FineTuneTrigger(job_id, poll=QUICK)))
    await asyncio.sleep(0.2)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert {seen.method for seen in service.requests} == {"GET"}
    left = {task for task in asyncio.all_tasks() - before if "aiohttp" not in repr(task)}
    assert left == set()


async def test_the_serialised_trigger_is_plain_json_and_holds_no_key(service: Simulator) -> None:
    trigger = FineTuneTrigger(["ft-1", "ft-2"], deadline=datetime.now(UTC), poll=QUICK)

    name, values = trigger.serialize()

    assert name == "dashscope_ft_async.airflow.FineTuneTrigger"
    assert set(values) == {"job_ids", "dashscope_conn_id", "started", "deadline", "poll"}
    assert again(trigger).serialize() == (name, values)
    assert KEY not in json.dumps(values) + repr(trigger)


async def test_status_changes_are_logged(service: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    job_id = service.add_job([(0, "RUNNING"), (0.2, "SUCCEEDED")])

    await fired(FineTuneTrigger(job_id, poll=QUICK))

    assert re.findall(rf"{job_id} is [A-Z]+", capfd.readouterr().out) == [
        f"{job_id} is RUNNING",
        f"{job_id} is SUCCEEDED",
    ]


# --- the connection -----------------------------------------------------------------------------------


async def test_without_the_default_connection_the_environment_is_used(
    service: Simulator, monkeypatch: pytest.MonkeyPatch, database: None
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")])
    monkeypatch.delenv("AIRFLOW_CONN_DASHSCOPE_DEFAULT")
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", service.base_url)

    assert (await fired(FineTuneTrigger(job_id)))[0]["status"] == "SUCCEEDED"


async def test_a_connection_may_be_a_uri_and_leave_the_key_to_the_environment(
    service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = service.add_job([(0, "SUCCEEDED")])
    port = service.base_url.split(":")[2].split("/")[0]
    monkeypatch.setenv(
        "AIRFLOW_CONN_DASHSCOPE_DEFAULT", f"dashscope://127.0.0.1:{port}/http?workspace=llm-1"
    )
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)

    assert (await fired(FineTuneTrigger(job_id)))[0]["status"] == "SUCCEEDED"


async def test_a_named_connection_that_does_not_exist_is_an_error(database: None) -> None:
    with pytest.raises(AirflowNotFoundException):
        await fired(FineTuneTrigger("ft-1", dashscope_conn_id="dashscope_of_another_team"))


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        pytest.param({"extra": "[1]"}, "JSON object", marks=pytest.mark.since_3_2),
        ({"host": "https://u:p@example.com"}, "credentials"),
        ({"extra": {"region": "mars"}}, "mars"),
    ],
)
async def test_a_wrong_connection_is_reported_for_each_job_without_the_key(
    facts: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, password=KEY, **facts)

    outcomes = await fired(FineTuneTrigger(["ft-1", "ft-2"]))

    assert [one["error"] for one in outcomes] == ["ConfigurationError"] * 2
    assert says in outcomes[0]["reason"]
    assert KEY not in str(outcomes)


async def test_no_frame_of_a_refused_connection_holds_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, password=KEY, extra={"region": "mars"})

    with pytest.raises(ConfigurationError) as caught:
        async with DashScopeHook().client():
            pytest.fail("there is no such region")

    frames = [frame for frame, _ in traceback.walk_tb(caught.tb) if frame.f_code.co_filename != __file__]
    assert frames
    assert KEY not in repr([frame.f_locals for frame in frames])


async def test_a_wrong_key_is_reported_without_the_key(
    service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=service.base_url, password="sk-wrong-0123456789")

    [outcome] = await fired(FineTuneTrigger("ft-1"))

    assert outcome["error"] == "AuthenticationError"
    assert "sk-wrong" not in outcome["reason"]


# --- operator and sensor ------------------------------------------------------------------------------


class Instance:
    """The attributes of a task instance that the operator uses."""

    def __init__(self) -> None:
        self.start_date = datetime.now(UTC) - timedelta(minutes=1)
        self.pushed: dict[str, object] = {}

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value


def deferred(task: WaitForFineTuneOperator) -> tuple[FineTuneTrigger, TaskDeferred, Instance]:
    instance = Instance()
    with pytest.raises(TaskDeferred) as caught:
        getattr(task, "execute")({"ti": instance})  # noqa: B009 - a context of two lines
    trigger: Any = caught.value.trigger
    return trigger, caught.value, instance


def test_the_deadline_counts_from_the_start_of_the_try() -> None:
    task = WaitForFineTuneOperator(task_id="wait", job_ids="ft-1", execution_timeout=timedelta(hours=6))

    trigger, defer, instance = deferred(task)

    assert trigger.started == instance.start_date
    assert trigger.deadline == instance.start_date + timedelta(hours=6)
    # The scheduler's own limit is there for when no triggerer runs, and comes after.
    left = defer.timeout
    assert isinstance(left, timedelta)
    assert timedelta(hours=6) - timedelta(seconds=5) < left <= timedelta(hours=6)


def test_without_a_timeout_there_is_no_deadline() -> None:
    trigger, defer, _ = deferred(WaitForFineTuneOperator(task_id="wait", job_ids="ft-1"))

    assert (trigger.deadline, defer.timeout) == (None, None)


def test_a_sensor_uses_the_shorter_of_its_two_limits() -> None:
    sensor = FineTuneSensor(
        task_id="wait", job_ids="ft-1", timeout=7200, execution_timeout=timedelta(hours=1)
    )

    trigger, _, instance = deferred(sensor)

    assert trigger.deadline == instance.start_date + timedelta(hours=1)


def outcome(error: str | None) -> dict[str, Any]:
    return {"job_id": "ft-1", "status": "RUNNING", "error": error, "reason": error and "because"}


@pytest.mark.parametrize(
    ("errors", "raised"),
    [
        (["JobFailedError"], "AirflowFailException"),
        (["JobError", None], "AirflowFailException"),
        (["WaitTimeoutError", "JobCanceledError"], "AirflowFailException"),
        (["WaitTimeoutError", None], "AirflowTaskTimeout"),
        (["OutageError", None], "AirflowException"),
        (["AuthenticationError"], "AirflowException"),
    ],
)
def test_only_a_job_without_success_fails_a_task_without_a_retry(
    errors: list[str | None], raised: str
) -> None:
    task = WaitForFineTuneOperator(task_id="wait", job_ids=["ft-1"] * len(errors))
    instance: Any = Instance()
    jobs = [outcome(error) for error in errors]

    with pytest.raises(BaseException, match="because") as caught:
        task.execute_complete({"ti": instance}, {"jobs": jobs})

    assert type(caught.value).__name__ == raised
    assert instance.pushed == {"return_value": jobs}


# --- provider metadata --------------------------------------------------------------------------------


@pytest.mark.since_3_2
def test_airflow_finds_the_provider_and_its_connection_type() -> None:
    manager = ProvidersManager()

    assert "dashscope-ft-async" in manager.providers
    hook = manager.hooks["dashscope"]
    assert hook is not None
    assert (hook.hook_class_name, hook.connection_id_attribute_name) == (
        "dashscope_ft_async.airflow.DashScopeHook",
        "dashscope_conn_id",
    )
    assert manager.field_behaviours["dashscope"]["relabeling"]["password"] == "API key"
    assert "extra__dashscope__workspace" in manager.connection_form_widgets


async def test_transient_failures_do_not_end_the_wait(service: Simulator) -> None:
    job_id = service.add_job(
        [(0, "SUCCEEDED")], faults=[Fault.error(429, "Throttling"), Fault.html(502), Fault.reset()]
    )

    assert (await fired(FineTuneTrigger(job_id)))[0]["status"] == "SUCCEEDED"


async def test_the_connection_sets_how_list_pages_are_used(
    service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host=service.base_url, password=KEY, extra={"coalesce": False})
    async with DashScopeHook().client() as client:
        assert client.stats().list_state == "off"

    connect(monkeypatch, password=KEY, extra={"coalesce": "always"})
    with pytest.raises(ConfigurationError, match="coalesce must be True, False or 'confirm'"):
        async with DashScopeHook().client():
            pytest.fail("there is no such value")
