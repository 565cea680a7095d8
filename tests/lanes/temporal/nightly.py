"""A user's workflow file."""

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from dashscope_ft_async.temporal import FineTuneActivities, FineTuneBatch


@workflow.defn
class Nightly:
    """One job, then its model."""

    @workflow.run
    async def run(self, job_id: str) -> str | None:
        """Name of the model."""
        [outcome] = await workflow.execute_activity_method(
            FineTuneActivities.wait_for_jobs,
            FineTuneBatch(job_ids=[job_id], must_succeed=True),
            start_to_close_timeout=timedelta(days=1),
            heartbeat_timeout=timedelta(seconds=20),
        )
        return outcome.finetuned_output
