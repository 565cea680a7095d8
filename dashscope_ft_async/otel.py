"""Traces and metrics by OpenTelemetry (extra ``otel``, the API alone; bring the SDK you use).

    FineTuneClient(hooks=[OpenTelemetry()])

A span for each call and for each wait, a child of the span that is current where it begins. Attempts of a
call are events of its span; of a wait, whose polls go into thousands, the failed attempts and the changes
of status are. Names are those of OpenTelemetry's conventions for HTTP clients; what they have no name for
begins with ``dashscope_ft``. Ids of jobs are in spans only: in metrics they would never stop growing.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import attrs
from opentelemetry import metrics, trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from dashscope_ft_async import __version__
from dashscope_ft_async.errors import APIStatusError
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
from dashscope_ft_async.models import FineTuneJob

__all__ = ["OpenTelemetry"]

_NAME = "dashscope_ft_async"
_JOB_ID = "dashscope_ft.job.id"
_JOB_STATUS = "dashscope_ft.job.status"
_OF_REQUESTS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_OF_WAITS = (1, 10, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_OF_LAGS = (0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 45, 60, 120, 300)


@attrs.define
class _Call:
    span: Span
    attempts: int = 0


class OpenTelemetry:
    """A hook that makes spans and metrics; it serves any number of clients.

    Metrics: ``http.client.request.duration``, ``dashscope_ft.throttles``, ``dashscope_ft.active_waits``,
    ``dashscope_ft.wait.duration``, ``dashscope_ft.detection_lag`` (the most by which ends of jobs were
    noticed late).

    Args:
        tracer_provider: Instead of the global one.
        meter_provider: Instead of the global one.
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
        self._waits_of: dict[str, dict[int, Span]] = {}
        self._requests = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_OF_REQUESTS,
        )
        self._throttles = meter.create_counter(
            "dashscope_ft.throttles", unit="{refusal}", description="Requests refused because of the rate."
        )
        self._active = meter.create_up_down_counter(
            "dashscope_ft.active_waits", unit="{wait}", description="Waits for jobs under way."
        )
        self._ended = meter.create_histogram(
            "dashscope_ft.wait.duration",
            unit="s",
            description="Duration of waits for jobs.",
            explicit_bucket_boundaries_advisory=_OF_WAITS,
        )
        self._lags = meter.create_histogram(
            "dashscope_ft.detection_lag",
            unit="s",
            description="Time between the look that saw a job's end and the one before.",
            explicit_bucket_boundaries_advisory=_OF_LAGS,
        )

    def __call__(self, event: Event) -> None:
        """Take note of `event`."""
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
                self._waits_of.setdefault(event.job_id, {})[event.wait] = span
                self._active.add(1)
            case WaitEnded():
                self._wait_ended(event)
            case _:
                pass  # events for the log

    def _span(self, name: str, job_id: str | None, kind: SpanKind) -> Span:
        about = {} if job_id is None else {_JOB_ID: job_id}
        return self._tracer.start_span(f"dashscope_ft.{name}", kind=kind, attributes=about)

    def _request(self, event: RequestFinished) -> None:
        about: dict[str, str | int] = {
            "http.request.method": event.method,
            "url.template": event.template,
            "server.address": event.host,
            "server.port": event.port,
        }
        if event.status is not None:
            about["http.response.status_code"] = event.status
        if event.error is not None or (event.status or 0) >= 400:
            about["error.type"] = event.error or str(event.status)
        self._requests.record(event.seconds, about)
        call = None if event.call is None else self._calls.get(event.call)
        if call is not None:
            result = ("http.response.status_code", "error.type")
            call.span.set_attributes({name: about[name] for name in about if name not in result})
            if event.status is not None:
                call.span.set_attribute("http.response.status_code", event.status)
            call.span.add_event("attempt", {**about, "http.request.resend_count": call.attempts})
            call.attempts += 1

    def _retry(self, event: Retrying) -> None:
        if event.wait is None or event.wait not in self._waits:
            return  # of a call, its requests tell
        about: dict[str, str | int | float] = {
            "error.type": _type_of(event.error),
            "http.request.resend_count": event.attempt - 1,
            "dashscope_ft.pause": event.seconds,
        }
        self._waits[event.wait].add_event("attempt", about)

    def _status(self, event: StatusChanged) -> None:
        for span in self._waits_of.get(event.job.job_id, {}).values():
            span.add_event("status", {_JOB_STATUS: str(event.job.status)})
        if event.job.is_terminal and event.unseen is not None and isfinite(event.unseen):
            self._lags.record(event.unseen)

    def _wait_ended(self, event: WaitEnded) -> None:
        outcome = _outcome(event.job, event.error)
        self._ended.record(event.seconds, outcome)
        span = self._waits.pop(event.wait, None)
        of_job = self._waits_of.get(event.job_id, {})
        of_job.pop(event.wait, None)
        if not of_job:
            self._waits_of.pop(event.job_id, None)
        if span is not None:
            self._active.add(-1)
            span.set_attributes({**outcome, "dashscope_ft.polls": event.polls})
            _end(span, event.error)


def _outcome(job: FineTuneJob | None, error: BaseException | None) -> Mapping[str, str]:
    if job is not None:
        return {_JOB_STATUS: str(job.status)}
    return {"error.type": "given_up" if error is None else _type_of(error)}


def _type_of(error: BaseException) -> str:
    if isinstance(error, APIStatusError) and error.status >= 400:
        return str(error.status)
    return type(error).__name__


def _end(span: Span, error: BaseException | None) -> None:
    if error is not None:
        span.set_attribute("error.type", _type_of(error))
        span.set_status(StatusCode.ERROR, str(error))
    span.end()
