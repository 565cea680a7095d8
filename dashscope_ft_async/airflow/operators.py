"""A task and a sensor that wait for jobs, deferred."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from airflow.sdk import BaseOperator, BaseSensorOperator, Context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTimeout,
)

from dashscope_ft_async.airflow.hooks import DEFAULT_CONNECTION
from dashscope_ft_async.airflow.outcomes import Outcome, complaint, ended_badly, timed_out
from dashscope_ft_async.airflow.triggers import FineTuneTrigger, Poll

_WITHOUT_A_TRIGGERER = timedelta(minutes=1)
"""After so much more than its deadline, a wait that no triggerer took up is failed by the scheduler."""


class WaitForFineTuneOperator(BaseOperator):
    """Waits, in a triggerer, until all jobs have ended; succeeds when all have SUCCEEDED.

    Its XCom is one mapping with the keys ``job_id``, ``status``, ``finetuned_output`` (the model),
    ``usage``, ``error`` and ``reason``, or a list of them where `job_ids` is a list. A task that fails
    leaves it too, so nothing is lost of the jobs that did succeed.

    A job that FAILED or was CANCELED fails the task without a retry, with the reason. A wait that could
    not see the end (a wrong key, an outage) or ran out of `execution_timeout` fails it as usual, so
    `retries` wait again. `execution_timeout` counts from the start of the try, deferral included. Killing
    the task never touches the jobs.

    Args:
        job_ids: One id, or many; may be the output of another task.
        dashscope_conn_id: As of `DashScopeHook`.
        poll: A `PollPolicy` or its fields by name, instead of the usual pace.
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
        began, patience = context["ti"].start_date, self._patience()
        deadline = None if patience is None else began + patience
        self.defer(
            trigger=FineTuneTrigger(
                self.job_ids,
                dashscope_conn_id=self.dashscope_conn_id,
                started=began,
                deadline=deadline,
                poll=self.poll,
            ),
            method_name="execute_complete",
            timeout=None if deadline is None else deadline - datetime.now(UTC) + _WITHOUT_A_TRIGGERER,
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Outcome | list[Outcome]:
        """What the trigger told, or the failure."""
        outcomes: list[Outcome] = event["jobs"]
        result = outcomes[0] if isinstance(self.job_ids, str) else outcomes
        wrong = complaint(outcomes)
        if wrong is None:
            return result
        if self.do_xcom_push:
            context["ti"].xcom_push("return_value", result)
        if ended_badly(outcomes):
            raise AirflowFailException(wrong)
        raise (self._timeout_error if timed_out(outcomes) else AirflowException)(wrong)

    def _patience(self) -> timedelta | None:
        return self.execution_timeout


class FineTuneSensor(WaitForFineTuneOperator, BaseSensorOperator):
    """`WaitForFineTuneOperator` with a sensor's manners.

    `timeout` (seconds; Airflow's default is a week) bounds the wait too, and with `soft_fail` what would
    fail the task skips it. It always defers, so `mode` and `poke_interval` mean nothing here.
    """

    _timeout_error = AirflowSensorTimeout

    def _patience(self) -> timedelta:
        limits = (super()._patience(), timedelta(seconds=self.timeout))
        return min(limit for limit in limits if limit is not None)
