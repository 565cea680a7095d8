"""The spans and metrics of `dashscope_ft_async.otel`, as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from dashscope_ft_async import NotFoundError, PollPolicy, WaitTimeoutError
from dashscope_ft_async.otel import OpenTelemetry
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY

pytestmark = pytest.mark.looptime

EVERY_10_S = PollPolicy(initial=10, multiplier=1, max_interval=10, jitter=0)


class Collected:
    """An OpenTelemetry SDK that exports to memory, and the hook that uses it."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = traces.get_tracer("test")
        metrics = MeterProvider([self._reader], shutdown_on_exit=False)
        self.hook = OpenTelemetry(tracer_provider=traces, meter_provider=metrics)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def span(self) -> ReadableSpan:
        (only,) = self.spans
        return only

    def points(self, name: str) -> list[Any]:
        """Data points of the metric, or none."""
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def everything(self) -> str:
        data = self._reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + (data.to_json() if data else "")


@pytest.fixture
def collected() -> Collected:
    return Collected()


def attributes(span: Any) -> Mapping[str, Any]:
    return dict(span.attributes or {})


def sums(points: list[Any]) -> list[tuple[dict[str, Any], int, float]]:
    """Attributes, count and sum of histogram points."""
    return [(dict(point.attributes), point.count, point.sum) for point in points]


async def test_a_call_is_a_span_with_its_attempts_as_events(
    service: Simulator, collected: Collected
) -> None:
    job_id = service.add_job([(0, "RUNNING")], faults=[Fault.error(500, "InternalError"), Fault.cut()])
    async with service.client(hooks=[collected.hook]) as client:
        await client.get(job_id)
    span, port = collected.span(), int(service.base_url.split(":")[2].split("/")[0])
    where = {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": port,
        "url.template": "/fine-tunes/{job_id}",
    }
    assert (span.name, span.kind, span.status.status_code) == (
        "dashscope_ft.get",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert attributes(span) == where | {"dashscope_ft.job.id": job_id, "http.response.status_code": 200}
    assert [event.name for event in span.events] == ["attempt"] * 3
    assert [attributes(event) for event in span.events] == [
        where | {"http.response.status_code": 500, "error.type": "500", "http.request.resend_count": 0},
        where | {"error.type": "APIConnectionError", "http.request.resend_count": 1},
        where | {"http.response.status_code": 200, "http.request.resend_count": 2},
    ]


async def test_a_failed_call_has_the_http_status_as_its_error_type(
    service: Simulator, collected: Collected
) -> None:
    async with service.client(hooks=[collected.hook]) as client:
        with pytest.raises(NotFoundError):
            await client.get("ft-not-there")
    span = collected.span()
    assert span.status.status_code is StatusCode.ERROR
    assert "not found" in (span.status.description or "")
    assert attributes(span)["error.type"] == "404"
    assert attributes(span)["http.response.status_code"] == 404


async def test_a_wait_is_a_span_with_failed_attempts_and_status_changes(
    service: Simulator, collected: Collected
) -> None:
    job_id = service.add_job([(0, "QUEUING"), (15, "RUNNING"), (95, "SUCCEEDED")], faults=[Fault.html(502)])
    async with service.client(hooks=[collected.hook], poll=EVERY_10_S) as client:
        await client.wait_for_terminal(job_id)
    span = collected.span()
    assert (span.name, span.kind) == ("dashscope_ft.wait", SpanKind.INTERNAL)
    assert [
        (event.name, attributes(event).get("error.type") or attributes(event)["dashscope_ft.job.status"])
        for event in span.events
    ] == [("attempt", "502"), ("status", "QUEUING"), ("status", "RUNNING"), ("status", "SUCCEEDED")]
    assert attributes(span) == {
        "dashscope_ft.job.id": job_id,
        "dashscope_ft.job.status": "SUCCEEDED",
        "dashscope_ft.polls": service.polls(job_id),
    }


async def test_spans_are_children_of_the_span_that_is_current(
    service: Simulator, collected: Collected
) -> None:
    job_ids = [service.add_job([(0, "RUNNING"), (20, "SUCCEEDED")]) for _ in range(2)]
    async with service.client(hooks=[collected.hook]) as client:

        async def pipeline(job_id: str) -> None:
            with collected.tracer.start_as_current_span(job_id):
                await client.get(job_id)
                await client.wait_for_terminal(job_id)

        await asyncio.gather(*map(pipeline, job_ids))
    outer = {
        (span.context and span.context.span_id): span.name
        for span in collected.spans
        if span.parent is None
    }
    inner = [span for span in collected.spans if span.parent is not None]
    assert sorted(outer.values()) == sorted(job_ids)
    assert len(inner) == 4
    for span in inner:
        assert span.parent is not None
        assert outer[span.parent.span_id] == attributes(span)["dashscope_ft.job.id"]


async def test_request_durations_follow_the_conventions_and_have_no_job_ids(
    service: Simulator, collected: Collected
) -> None:
    job_ids = [service.add_job([(0, "SUCCEEDED")]) for _ in range(3)]
    service.fail_next(Fault.error(429, "Throttling"), Fault.cut())
    async with service.client(hooks=[collected.hook]) as client:
        for job_id in job_ids:
            await client.get(job_id)
        await client.list()
    found = {
        (
            about["url.template"],
            about.get("http.response.status_code"),
            about.get("error.type"),
        ): count
        for about, count, _ in sums(collected.points("http.client.request.duration"))
    }
    assert found == {
        ("/fine-tunes/{job_id}", 429, "429"): 1,
        ("/fine-tunes/{job_id}", None, "APIConnectionError"): 1,
        ("/fine-tunes/{job_id}", 200, None): 3,
        ("/fine-tunes", 200, None): 1,
    }
    (throttles,) = collected.points("dashscope_ft.throttles")
    assert (throttles.value, dict(throttles.attributes or {})) == (1, {"dashscope_ft.pages": False})


async def test_no_metric_has_a_job_id_and_nothing_has_the_key(
    service: Simulator, collected: Collected
) -> None:
    job_ids = [
        service.add_job([(0, "RUNNING"), (9, "SUCCEEDED")], faults=[Fault.error(500, KEY, KEY)])
        for _ in range(30)
    ]
    async with service.client(hooks=[collected.hook]) as client:
        await client.wait_many(job_ids)
        with pytest.raises(NotFoundError):
            await client.get("ft-not-there")
    assert KEY not in collected.everything()
    for name in ("http.client.request.duration", "dashscope_ft.wait.duration"):
        points = collected.points(name)
        assert 1 <= len(points) <= 4
        assert "ft-" not in str([dict(point.attributes) for point in points])


async def test_active_waits_are_counted(service: Simulator, collected: Collected) -> None:
    job_id = service.add_job([(0, "RUNNING")])
    async with service.client(hooks=[collected.hook]) as client:
        waits = [asyncio.create_task(client.wait_for_terminal(job_id, timeout=60)) for _ in range(3)]
        await asyncio.sleep(1)
        (point,) = collected.points("dashscope_ft.active_waits")
        assert point.value == 3
        waits[0].cancel()
        await asyncio.wait(waits)
    (point,) = collected.points("dashscope_ft.active_waits")
    assert point.value == 0
    assert [type(wait.exception()) for wait in waits[1:]] == [WaitTimeoutError] * 2
    ended = sums(collected.points("dashscope_ft.wait.duration"))
    assert {about["error.type"]: count for about, count, _ in ended} == {
        "given_up": 1,
        "WaitTimeoutError": 2,
    }


async def test_the_detection_lag_is_the_time_between_the_last_two_polls(
    service: Simulator, collected: Collected
) -> None:
    job_id = service.add_job([(0, "RUNNING"), (11, "FAILED")])
    async with service.client(hooks=[collected.hook], poll=EVERY_10_S) as client:
        await asyncio.gather(client.wait_for_terminal(job_id), client.wait_for_terminal(job_id))
    ((about, count, total),) = sums(collected.points("dashscope_ft.detection_lag"))
    assert (about, count) == ({}, 1)
    assert total == pytest.approx(10, abs=0.1)


async def test_the_end_of_an_unknown_wait_is_ignored(service: Simulator, collected: Collected) -> None:
    """The hook gets the end of a wait without its beginning."""
    early = Collected()
    job_id = service.add_job([(0, "RUNNING"), (9, "SUCCEEDED")], faults=[Fault.error(500, "InternalError")])
    joined = False

    def late(event: Any) -> None:
        nonlocal joined
        if joined:
            collected.hook(event)
        joined = True

    async with service.client(hooks=[early.hook, late]) as client:
        await client.wait_for_terminal(job_id)
    assert len(early.spans) == 1
    assert collected.spans == []
    assert collected.points("dashscope_ft.active_waits") == []


async def test_without_an_sdk_no_state_is_left(service: Simulator) -> None:
    hook = OpenTelemetry()
    service.fail_next(Fault.error(500, "InternalError"))
    async with service.client(hooks=[hook]) as client:
        with pytest.raises(NotFoundError):
            await client.get("ft-not-there")
        await client.wait_for_terminal(service.add_job([(0, "RUNNING"), (9, "SUCCEEDED")]))
    assert [kept for kept in vars(hook).values() if isinstance(kept, dict)] == [{}, {}, {}]


def test_the_package_does_not_import_opentelemetry() -> None:
    code = "import sys, dashscope_ft_async;print([m for m in sys.modules if m.endswith('opentelemetry')])"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "needs"), [("otel", "opentelemetry"), ("temporal", "temporalio")], ids=["otel", "temporal"]
)
def test_without_its_extra_a_module_says_what_to_install(module: str, needs: str) -> None:
    code = f"import sys; sys.modules[{needs!r}] = None; import dashscope_ft_async.{module}"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    last = ran.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: dashscope_ft_async.{module} needs ")
    assert last.endswith(f": pip install 'dashscope-ft-async[{module}]'")
