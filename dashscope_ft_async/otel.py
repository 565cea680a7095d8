"""Traces and metrics with OpenTelemetry (extra ``otel``; it installs the API, your program needs an SDK).

    FineTuneClient(hooks=[OpenTelemetry()])

Each call and each wait is a span; its parent is the span that is current when it begins. The span of a call
has an event for each attempt. The span of a wait, which may have thousands of polls, has events for failed
attempts and changes of status. Names are those of OpenTelemetry's conventions for HTTP clients, or begin
with ``dashscope_ft``. Job ids are in spans only, as each value would be a new time series.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import attrs

from dashscope_ft_async import APIStatusError, FineTuneJob, __version__
from dashscope_ft_async.hooks import (
    CallEnded,
    CallStarted,
    Event,
    RequestFinished,
    Retrying,
    StatusChanged,
    Throttled,
    WaitEnded,
    WaitStarted,
)

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import Span, SpanKind, StatusCode
except ModuleNotFoundError as error:
    raise ImportError(f"{__name__} needs OpenTelemetry: pip install 'dashscope-ft-async[otel]'") from error

__all__ = ["OpenTelemetry"]

_NAME = "dashscope_ft_async"
_JOB_ID = "dashscope_ft.job.id"
_JOB_STATUS = "dashscope_ft.job.status"
_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_WAIT_BUCKETS = (1, 10, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_LAG_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120, 300)


@attrs.define
class _Call:
    span: Span
    attempts: int = 0


class OpenTelemetry:
    """A hook that makes spans and metrics. Any number of clients can use it.

    Metrics: ``http.client.request.duration``, ``dashscope_ft.throttles``, ``dashscope_ft.active_waits``,
    ``dashscope_ft.wait.duration``, ``dashscope_ft.detection_lag`` (upper bound of the time between the end
    of a job and the poll that saw it).

    Args:
        tracer_provider: By default the global one.
        meter_provider: By default the global one.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_NAME, __version__, tracer_provider)
        meter = metrics.get_meter(_NAME, __version__, meter_provider)
        self._calls: dict[int, _Call] = {}
        self._waits: dict[int, Span] = {}
        self._waits_by_job: dict[str, dict[int, Span]] = {}
        self._requests = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_REQUEST_BUCKETS,
        )
        self._throttles = meter.create_counter(
            "dashscope_ft.throttles", unit="{refusal}", description="Requests that were throttled."
        )
        self._active = meter.create_up_down_counter(
            "dashscope_ft.active_waits", unit="{wait}", description="Current waits for jobs."
        )
        self._ended = meter.create_histogram(
            "dashscope_ft.wait.duration",
            unit="s",
            description="Duration of waits for jobs.",
            explicit_bucket_boundaries_advisory=_WAIT_BUCKETS,
        )
        self._lags = meter.create_histogram(
            "dashscope_ft.detection_lag",
            unit="s",
            description="Time between the poll that saw the end of a job and the one before.",
            explicit_bucket_boundaries_advisory=_LAG_BUCKETS,
        )

    def __call__(self, event: Event) -> None:
        """Record `event`."""
        match event:
            case RequestFinished():
                self._request(event)
            case Retrying():
                self._retry(event)
            case Throttled():
                self._throttles.add(1, {"dashscope_ft.pages": event.pages})
            case StatusChanged():
                self._status(event)
            case CallStarted():
                self._calls[event.call] = _Call(self._span(event.name, event.job_id, SpanKind.CLIENT))
            case CallEnded():
                call = self._calls.pop(event.call, None)
                if call is not None:
                    _end(call.span, event.error)
            case WaitStarted():
                span = self._span("wait", event.job_id, SpanKind.INTERNAL)
                self._waits[event.wait] = span
                self._waits_by_job.setdefault(event.job_id, {})[event.wait] = span
                self._active.add(1)
            case WaitEnded():
                self._wait_ended(event)
            case _:
                pass  # only logged

    def _span(self, name: str, job_id: str | None, kind: SpanKind) -> Span:
        attributes = {} if job_id is None else {_JOB_ID: job_id}
        return self._tracer.start_span(f"dashscope_ft.{name}", kind=kind, attributes=attributes)

    def _request(self, event: RequestFinished) -> None:
        attributes: dict[str, str | int] = {
            "http.request.method": event.method,
            "url.template": event.template,
            "server.address": event.host,
            "server.port": event.port,
        }
        if event.status is not None:
            attributes["http.response.status_code"] = event.status
        if event.error is not None or (event.status or 0) >= 400:
            attributes["error.type"] = event.error or str(event.status)
        self._requests.record(event.seconds, attributes)
        call = None if event.call is None else self._calls.get(event.call)
        if call is not None:
            of_attempt = ("http.response.status_code", "error.type")
            call.span.set_attributes(
                {name: attributes[name] for name in attributes if name not in of_attempt}
            )
            if event.status is not None:
                call.span.set_attribute("http.response.status_code", event.status)
            call.span.add_event("attempt", {**attributes, "http.request.resend_count": call.attempts})
            call.attempts += 1

    def _retry(self, event: Retrying) -> None:
        if event.wait is None or event.wait not in self._waits:
            return  # a retry of a call is recorded with its requests
        attributes: dict[str, str | int | float] = {
            "error.type": _error_type(event.error),
            "http.request.resend_count": event.attempt - 1,
            "dashscope_ft.pause": event.seconds,
        }
        self._waits[event.wait].add_event("attempt", attributes)

    def _status(self, event: StatusChanged) -> None:
        for span in self._waits_by_job.get(event.job.job_id, {}).values():
            span.add_event("status", {_JOB_STATUS: str(event.job.status)})
        if event.job.is_terminal and event.unseen is not None and isfinite(event.unseen):
            self._lags.record(event.unseen)

    def _wait_ended(self, event: WaitEnded) -> None:
        outcome = _outcome(event.job, event.error)
        self._ended.record(event.seconds, outcome)
        span = self._waits.pop(event.wait, None)
        of_job = self._waits_by_job.get(event.job_id, {})
        of_job.pop(event.wait, None)
        if not of_job:
            self._waits_by_job.pop(event.job_id, None)
        if span is not None:
            self._active.add(-1)
            span.set_attributes({**outcome, "dashscope_ft.polls": event.polls})
            _end(span, event.error)


def _outcome(job: FineTuneJob | None, error: BaseException | None) -> Mapping[str, str]:
    if job is not None:
        return {_JOB_STATUS: str(job.status)}
    return {"error.type": "given_up" if error is None else _error_type(error)}


def _error_type(error: BaseException) -> str:
    if isinstance(error, APIStatusError) and error.status >= 400:
        return str(error.status)
    return type(error).__name__


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute("error.type", _error_type(error))
        span.set_status(StatusCode.ERROR, str(error))
    span.end()
