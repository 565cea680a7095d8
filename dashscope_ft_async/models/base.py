"""The base of all errors, and the error for bad input.

They are here because models raise them; `dashscope_ft_async.errors` exports them with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from dashscope_ft_async.models.job import FineTuneJob
from dashscope_ft_async.models.redact import escaped, redact

_MAYBE_CREATED = (
    "The job may have been created all the same: before creating it again, look for it "
    "among the jobs of its model (iter_jobs, or dashscope-ft list), by job_name and create_time."
)


class DashScopeFTError(Exception):
    """Base of everything this library raises."""

    job_id: str | None = None
    """The job it is about, where it is about one."""
    results: Mapping[str, FineTuneJob] = {}
    """Jobs that had ended well or badly before a `wait_many` was ended by this error."""
    maybe_created: bool = False
    """After `create`: the job may be there although no good answer came. Look for it, newest jobs
    first: ``async for job in client.iter_jobs(model=…)``, by its `job_name` and `create_time`."""
    advice: ClassVar[str] = ""
    """What to do about it; the end of `str()`."""

    def __init__(self, message: str = "", *, job_id: str | None = None) -> None:
        # Some messages quote what was given, or what the service said: a key may be in either.
        super().__init__(redact(message))
        if job_id is not None:
            self.job_id = job_id

    def _facts(self) -> Mapping[str, object]:
        """The facts that `str()` names, in order; absent ones left out by `None`."""
        return {"job": self.job_id and escaped(self.job_id)}

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts().items() if value is not None)
        text = str(self.args[0]) if self.args else ""
        warning = _MAYBE_CREATED if self.maybe_created else ""
        parts = (text, f"({facts})" if facts else "", warning, self.advice)
        return " ".join(part for part in parts if part)


class ConfigurationError(DashScopeFTError, ValueError):
    """Bad input or misuse, found before any request: a missing key, a bad id, URL or policy, or a
    client used from another event loop or process. Correct the program."""
