"""Whole runs: operator, trigger and XCom by Airflow's own `DAG.test`, on SQLite."""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.models.xcom import XComModel
from airflow.utils.session import create_session

pytestmark = pytest.mark.usefixtures("database")

FOLDER = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])


@pytest.fixture(scope="module")
def dags() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "waits.py"))


def xcom_of(run: Any, task_id: str) -> list[Any]:
    """What the task returned, in the order of its map indices."""
    found = XComModel.get_many(run_id=run.run_id, dag_ids=run.dag_id, task_ids=task_id, key="return_value")
    with create_session() as session:
        rows = sorted(session.scalars(found), key=lambda row: row.map_index)
        return [XComModel.deserialize_value(row) for row in rows]


def wait_task(run: Any) -> Any:
    return run.get_task_instance("wait")


def test_xcom_has_the_model_and_usage_of_a_job_that_succeeds(dags: dict[str, Any], elsewhere: Any) -> None:
    job_id = elsewhere.add_job((0, "RUNNING"), (0.5, "SUCCEEDED"))

    run = dags["one"].test(run_conf={"job_id": job_id})

    assert wait_task(run).state == "success"
    assert xcom_of(run, "wait") == [
        {
            "job_id": job_id,
            "status": "SUCCEEDED",
            "finetuned_output": f"qwen3-14b-{job_id}",
            "usage": 279_808,
            "error": None,
            "reason": None,
        }
    ]


@pytest.mark.since_3_2
@pytest.mark.parametrize(
    ("status", "error_name"), [("FAILED", "JobFailedError"), ("CANCELED", "JobCanceledError")]
)
def test_a_job_without_success_fails_the_task_with_the_reason_and_without_a_retry(
    status: str, error_name: str, dags: dict[str, Any], elsewhere: Any
) -> None:
    job_id = elsewhere.add_job((0, status), code="InvalidData", message="line 17 is no JSON")

    run = dags["one"].test(run_conf={"job_id": job_id})

    error = dags["EXCEPTIONS"].pop()
    assert (wait_task(run).state, wait_task(run).try_number) == ("failed", 1)  # though retries=3
    assert (type(error).__name__, str(error).partition(":")[0]) == ("AirflowFailException", error_name)
    assert "line 17 is no JSON" in str(error)
    assert job_id in str(error)
    assert [left["status"] for left in xcom_of(run, "wait")] == [status]


@pytest.mark.since_3_2
def test_execution_timeout_ends_the_wait_and_shows_the_last_status(
    dags: dict[str, Any], elsewhere: Any
) -> None:
    job_id = elsewhere.add_job((0, "RUNNING"))
    began = time.monotonic()

    run = dags["impatient"].test(run_conf={"job_id": job_id})

    error = dags["EXCEPTIONS"].pop()
    assert wait_task(run).state == "failed"
    assert type(error).__name__ == "AirflowTaskTimeout"
    assert "last status RUNNING" in str(error)
    assert time.monotonic() - began < 30


def test_a_sensor_with_soft_fail_is_skipped_at_its_timeout(dags: dict[str, Any], elsewhere: Any) -> None:
    job_id = elsewhere.add_job((0, "QUEUING"))

    run = dags["skipping"].test(run_conf={"job_id": job_id})

    assert wait_task(run).state == "skipped"


def test_the_next_task_can_be_mapped_over_a_batch(dags: dict[str, Any], elsewhere: Any) -> None:
    job_ids = [elsewhere.add_job((0, "RUNNING"), (n / 10, "SUCCEEDED")) for n in range(1, 6)]

    run = dags["pipeline"].test(run_conf={"job_ids": job_ids})

    assert run.state == "success"
    assert xcom_of(run, "deploy") == [f"qwen3-14b-{job_id}" for job_id in job_ids]


@pytest.mark.since_3_2
def test_a_batch_with_one_failed_job_keeps_the_results_of_the_others(
    dags: dict[str, Any], elsewhere: Any
) -> None:
    good, bad = elsewhere.add_job((0, "SUCCEEDED")), elsewhere.add_job((0, "FAILED"))

    run = dags["pipeline"].test(run_conf={"job_ids": [good, bad]})

    error = dags["EXCEPTIONS"].pop()
    assert wait_task(run).state == "failed"
    assert "1 of 2 jobs did not succeed" in str(error)
    [left] = xcom_of(run, "wait")
    assert [(one["job_id"], one["finetuned_output"]) for one in left] == [
        (good, f"qwen3-14b-{good}"),
        (bad, None),
    ]


@pytest.mark.since_3_2
def test_the_key_is_neither_in_the_database_nor_in_the_output(
    dags: dict[str, Any], elsewhere: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    job_id = elsewhere.add_job((0, "FAILED"), message=f"refused {elsewhere.key}")

    dags["one"].test(run_conf={"job_id": job_id})

    error = str(dags["EXCEPTIONS"].pop())
    stored = b"".join(path.read_bytes() for path in Path(os.environ["AIRFLOW_HOME"]).glob("airflow.db*"))
    shown = "".join(capfd.readouterr())
    assert job_id in error
    assert job_id.encode() in stored
    for text in (error, shown, stored.decode(errors="replace")):
        assert elsewhere.key not in text


@pytest.mark.since_3_2
def test_the_dag_of_the_page_trains_waits_and_deploys(
    elsewhere: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run = runpy.run_path(str(FOLDER / "page.py"))["dag"].test()

    models = [outcome["finetuned_output"] for [outcomes] in [xcom_of(run, "wait")] for outcome in outcomes]
    shown = capfd.readouterr().out
    assert run.state == "success"
    assert len(models) == 2
    assert all(f"{model} 279808" in shown for model in models)
