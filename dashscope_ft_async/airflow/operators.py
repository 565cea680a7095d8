"""A deferred task and a deferred sensor that wait for jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, BaseSensorOperator, Context

from dashscope_ft_async.airflow.hooks import DEFAULT_CONNECTION
from dashscope_ft_async.airflow.triggers import (
    FineTuneTrigger,
    Outcome,
    Poll,
    error_message,
    is_job_error,
    is_timeout,
)

try:
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowTaskTimeout,
    )
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSensorTimeout,
        AirflowTaskTimeout,
    )

_GRACE = timedelta(minutes=1)
"""Airflow itself fails the task so long after the deadline. This happens only if no triggerer runs."""


class WaitForFineTuneOperator(BaseOperator):
    """Waits in a triggerer until all jobs have ended. The task succeeds if all jobs have SUCCEEDED.

    The XCom is a mapping with the keys ``job_id``, ``status``, ``finetuned_output`` (the model),
    ``usage``, ``error`` and ``reason``, or a list of mappings if `job_ids` is a list. A task that fails
    pushes it too, so that the results of the other jobs are not lost.

    If a job FAILED or was CANCELED, the task fails with the reason and without a retry. If the wait was
    given up (a wrong key, an outage, `execution_timeout`), the task fails and its `retries` apply.
    `execution_timeout` counts from the start of the try and includes the deferral. Killing the task does
    not touch the jobs.

    Args:
        job_ids: One id, or many; may be the output of another task.
        dashscope_conn_id: As of `DashScopeHook`.
        poll: A `PollPolicy`, or its fields by name; replaces the default policy.
    """

    template_fields: Sequence[str] = ("job_ids", "dashscope_conn_id")
    _timeout_error: ClassVar[type[BaseException]] = AirflowTaskTimeout

    def __init__(
        self,
        *,
        job_ids: str | Sequence[str],
        dashscope_conn_id: str = DEFAULT_CONNECTION,
        poll: Poll | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.dashscope_conn_id = dashscope_conn_id
        self.poll = poll

    def execute(self, context: Context) -> None:
        """Defer at once."""
        started, limit = context["ti"].start_date, self._limit()
        deadline = None if limit is None else started + limit
        self.defer(
            trigger=FineTuneTrigger(
                self.job_ids,
                dashscope_conn_id=self.dashscope_conn_id,
                started=started,
                deadline=deadline,
                poll=self.poll,
            ),
            method_name="execute_complete",
            timeout=None if deadline is None else deadline - datetime.now(UTC) + _GRACE,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Outcome | list[Outcome]:
        """Return the results of the trigger's event, or fail."""
        outcomes: list[Outcome] = event["jobs"]
        result = outcomes[0] if isinstance(self.job_ids, str) else outcomes
        message = error_message(outcomes)
        if message is None:
            return result
        if self.do_xcom_push:
            context["ti"].xcom_push("return_value", result)
        if is_job_error(outcomes):
            raise AirflowFailException(message)
        raise (self._timeout_error if is_timeout(outcomes) else AirflowException)(message)

    def _limit(self) -> timedelta | None:
        return self.execution_timeout


class FineTuneSensor(WaitForFineTuneOperator, BaseSensorOperator):
    """`WaitForFineTuneOperator` as a sensor.

    `timeout` (seconds; Airflow's default is a week) limits the wait too, and with `soft_fail` the task is
    skipped instead of failed. The sensor always defers, so `mode` and `poke_interval` have no effect.
    """

    _timeout_error = AirflowSensorTimeout

    def _limit(self) -> timedelta:
        limits = (super()._limit(), timedelta(seconds=self.timeout))
        return min(limit for limit in limits if limit is not None)
