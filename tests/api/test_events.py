"""The stream of events: what a subscriber or a log handler raises stays there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from dashscope_ft_async import JobStatus, PollPolicy
from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async.hooks import Event, Throttled
from dashscope_ft_async.testing import Fault, Simulator

LOGGER = logging.getLogger("dashscope_ft_async")
EVENT = Throttled(seconds=1.0, rate=1.0, pages=False)


class OwnError(BaseException):
    """Of a framework, as `trio.Cancelled` or pytest's `Exit` are."""


ERRORS = [RuntimeError("oh"), asyncio.CancelledError(), GeneratorExit(), OwnError()]


class Raising(logging.Handler):
    """A log handler that raises; it serves as a filter too."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self.error

    def filter(self, record: logging.LogRecord) -> bool:
        raise self.error


@pytest.fixture
def debug_level() -> Iterator[None]:
    level = LOGGER.level
    LOGGER.setLevel(logging.DEBUG)
    yield
    LOGGER.setLevel(level)


@pytest.mark.looptime
@pytest.mark.usefixtures("debug_level")
@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("as_filter", [False, True], ids=["handler", "filter"])
async def test_a_log_handler_or_filter_that_raises_costs_no_wait(
    error: BaseException, as_filter: bool, service: Simulator
) -> None:
    """The report of the first error raised again, and its wait never ended."""
    raising = Raising(error)
    if as_filter:
        LOGGER.addFilter(raising)
    else:
        LOGGER.addHandler(raising)
    try:
        async with service.client(poll=PollPolicy(initial=1)) as client:
            scripts = [[(0, "RUNNING"), (200 + n, "SUCCEEDED")] for n in range(5)]
            ids = [service.add_job(each, faults=[Fault.reset()]) for each in scripts]
            ended = await client.wait_many(ids)
    finally:
        LOGGER.removeFilter(raising)
        LOGGER.removeHandler(raising)

    assert {job.status for job in ended.values()} == {JobStatus.SUCCEEDED}


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_exception_of_a_hook_is_logged_once_and_the_next_hook_is_called(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[Event] = []

    def raising(_: Event) -> None:
        raise error

    stream = EventStream([raising, received.append])
    stream.emit(EVENT)
    stream.emit(EVENT)

    assert received == [EVENT, EVENT]
    (record,) = caplog.records
    assert record.message == "a hook raised on Throttled; logged once per hook"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_interrupt_during_a_hook_goes_on(error: BaseException) -> None:
    def interrupted(_: Event) -> None:
        raise error

    with pytest.raises(type(error)):
        EventStream([interrupted]).emit(EVENT)
