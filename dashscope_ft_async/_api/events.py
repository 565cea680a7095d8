"""The one stream of events of a client. The log is its first subscriber, users' hooks are the others."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.hooks import (
    Event,
    Hook,
    ListChanged,
    ModelNameMissing,
    PollFailed,
    RowsSkipped,
    StatusChanged,
    StillWaiting,
    UnknownStatus,
)
from dashscope_ft_async.models import FineTuneJob, JobStatus, safe_text, safe_word

_LOG = logging.getLogger("dashscope_ft_async")

_RECOVERED_AFTER = 60.0
"""Seconds without a failed poll after which the log says that polls succeed again."""
_MOST_WORDS = 100
_LONGEST_TEXT = 2500


class EventStream:
    """Sends each event to the log and to every hook, in the order given.

    Raises:
        ConfigurationError: a hook is not a plain callable.
    """

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        if not isinstance(cast("object", hooks), Iterable):
            raise ConfigurationError("hooks must be a list of callables that take one event.")
        given = tuple(hooks)
        for hook in given:
            if not callable(hook):
                raise ConfigurationError(f"a hook must be callable, which {type(hook).__name__} is not.")
            if inspect.iscoroutinefunction(hook):
                raise ConfigurationError("a hook is a plain function: a coroutine would never be awaited.")
        self._subscribers: tuple[Hook, ...] = (LogSubscriber(), *given)
        self._broken: set[int] = set()
        self.has_hooks = bool(given)
        """Whether there are users' hooks. Events of single requests and waits, which are many and which the
        log does not use, are built only for them."""

    def emit(self, event: Event) -> None:
        """Call every subscriber. An exception of a subscriber is logged once and never leaves here.

        Only `KeyboardInterrupt` and `SystemExit` do, which are not the subscriber's.
        """
        for number, subscriber in enumerate(self._subscribers):
            try:
                subscriber(event)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # noqa: BLE001 - no wait may depend on a hook
                if number not in self._broken:
                    self._broken.add(number)
                    _report_broken_hook(event)


def _report_broken_hook(event: Event) -> None:
    try:
        _LOG.warning("a hook raised on %s; logged once per hook", type(event).__name__, exc_info=True)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001, S110 - of a log handler or filter: nothing can be reported at all
        pass


class LogSubscriber:
    """Writes the log of one client, under the name ``dashscope_ft_async``.

    There is never a line per poll: a change of status is one line, failures in a row are logged at the
    1st, 2nd, 4th, 8th … and when they are over.
    """

    def __init__(self) -> None:
        self._unknown_words: set[str] = set()
        self._rows_skipped = False
        self._failures = 0
        self._first_failure_at = 0.0
        self._last_failure_at = 0.0
        self._handlers: Mapping[type, Callable[[Any], None]] = {
            StatusChanged: self._status_changed,
            UnknownStatus: lambda event: self._unknown_status(event.job),
            ModelNameMissing: self._model_name_missing,
            PollFailed: self._poll_failed,
            RowsSkipped: self._rows_were_skipped,
            ListChanged: self._list_changed,
            StillWaiting: self._still_waiting,
        }

    def __call__(self, event: Event) -> None:
        """Log the event, if it is of a kind that is logged."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _status_changed(self, event: StatusChanged) -> None:
        job = event.job
        if _LOG.isEnabledFor(logging.INFO):
            before = "first seen" if event.before is None else safe_word(event.before.raw_status)
            after = safe_word(job.raw_status)
            text = "job %s: %s -> %s after %.0f s, %d polls"
            _LOG.info(text, job.job_id, before, after, event.age, event.polls)
        if job.status is JobStatus.UNRECOGNIZED:
            self._unknown_status(job)
        self._log_recovery()

    def _log_recovery(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._failures and now - self._last_failure_at >= _RECOVERED_AFTER:
            duration = self._last_failure_at - self._first_failure_at
            _LOG.info("polls succeed again: %d had failed over %.0f s", self._failures, duration)
            self._failures = 0

    def _unknown_status(self, job: FineTuneJob) -> None:
        word = job.raw_status
        if word in self._unknown_words or len(self._unknown_words) >= _MOST_WORDS:
            return
        self._unknown_words.add(word)
        _LOG.warning(
            "job %s has the status %s, which this version does not know; it is treated as %s",
            job.job_id,
            safe_text(repr(word), 80),
            "ended" if job.is_terminal else "not ended",
        )

    def _model_name_missing(self, event: ModelNameMissing) -> None:
        _LOG.warning("job %s SUCCEEDED, but names no model (finetuned_output)", event.job.job_id)

    def _poll_failed(self, event: PollFailed) -> None:
        now = asyncio.get_running_loop().time()
        if not self._failures:
            self._first_failure_at = now
        self._failures += 1
        self._last_failure_at = now
        if self._failures & (self._failures - 1) == 0:
            _LOG.warning(
                "poll of job %s failed (%d since %.0f s): %s: %s%s",
                event.job_id,
                self._failures,
                now - self._first_failure_at,
                type(event.error).__name__,
                safe_text(str(event.error), _LONGEST_TEXT),
                f"; polls are held for {event.held:.1f} s" if event.held > 0 else "",
            )

    def _rows_were_skipped(self, event: RowsSkipped) -> None:
        if not self._rows_skipped:
            self._rows_skipped = True
            _LOG.warning(
                "%d of %d rows of the list cannot be read as jobs and are left out; JobPage.extra has them",
                event.skipped,
                event.total,
            )

    def _list_changed(self, event: ListChanged) -> None:
        reason = f": {safe_text(event.reason, _LONGEST_TEXT)}" if event.reason else ""
        _LOG.info("the list of jobs is %s%s", event.state, reason)

    def _still_waiting(self, event: StillWaiting) -> None:
        most = sorted(event.statuses.items(), key=lambda item: -item[1])[:8]
        words = ", ".join(f"{number} {safe_word(status, 40)}" for status, number in most)
        _LOG.info("still waiting for %d jobs: %s", sum(event.statuses.values()), words)
        self._log_recovery()
