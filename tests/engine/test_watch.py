"""Stages of a watch, the table of all watches, and the limits of waits, without a scheduler."""

from __future__ import annotations

import asyncio

import pytest

from dashscope_ft_async import PollPolicy, RetryPolicy
from dashscope_ft_async._engine.wait import Wait
from dashscope_ft_async._engine.watch import TRANSITIONS, Stage, Watch, WatchTable
from dashscope_ft_async.policy import WaitPolicy, WaitState

POLICY = WaitPolicy(PollPolicy(), RetryPolicy(), 30.0)


def wait(limit: float | None = None) -> Wait:
    return Wait("ft-1", POLICY, WaitState(0.0, limit), 0.0, 0.0, 0)


def watch(name: str = "ft-1") -> Watch:
    return Watch(name, None, 0.0, 1.0)


def test_every_stage_has_its_transitions() -> None:
    assert TRANSITIONS.keys() == set(Stage)
    assert TRANSITIONS[Stage.ENDED] == frozenset()
    assert all(Stage.ENDED in after for stage, after in TRANSITIONS.items() if stage is not Stage.ENDED)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("to", Stage)
def test_a_watch_makes_legal_transitions_only(stage: Stage, to: Stage) -> None:
    table, moved = WatchTable(), watch()
    moved.stage = stage

    if to in TRANSITIONS[stage]:
        table.move(moved, to)
        assert moved.stage is to
    else:
        with pytest.raises(ValueError, match=f"{stage.name} to {to.name}"):
            table.move(moved, to)


def test_a_watch_is_in_the_collection_of_its_stage_only() -> None:
    table, moved = WatchTable(), watch()
    members = {
        Stage.QUEUED: table.queued,
        Stage.SWEEPING: table.sweeping,
        Stage.CONFIRM_QUEUED: table.to_confirm,
    }

    for stage in (Stage.QUEUED, Stage.SWEEPING, Stage.CONFIRM_QUEUED, Stage.CONFIRMING, Stage.ENDED):
        table.move(moved, stage)
        assert [of for of, found in members.items() if moved in found] == [stage] * (stage in members)


def test_confirmations_are_requested_first_then_the_oldest_due() -> None:
    table = WatchTable()
    first, second, third = watch("1"), watch("2"), watch("3")
    table.move(first, Stage.QUEUED)
    table.move(second, Stage.QUEUED)
    table.move(third, Stage.CONFIRM_QUEUED)

    assert [table.next_request() for _ in range(4)] == [third, first, second, None]
    assert [each.stage for each in (third, first)] == [Stage.CONFIRMING, Stage.POLLING]


async def test_stale_wake_ups_do_not_pile_up() -> None:
    """They stayed in the heap until their time, however many there were."""
    table, woken = WatchTable(), watch()
    table.by_key["ft-1"] = woken
    woken.add(wait())

    for n in range(10_000):
        table.wake_at(woken, 100_000.0 - n)

    assert table.entries <= 2 * 1 + 65
    assert table.next_wake() == 90_001.0


async def test_limits_of_many_waits_come_in_order_and_only_once() -> None:
    shared = watch()
    waits = [wait(float(limit)) for limit in (5, 3, 9, 3)]
    for each in waits:
        shared.add(each)
    shared.remove(waits[1])

    assert shared.next_limit() == 3.0
    assert shared.pop_expired(5.0) == [waits[3], waits[0]]
    assert shared.next_limit() == 9.0
    assert shared.pop_expired(100.0) == [waits[2]]
    assert shared.next_limit() is None


async def test_twenty_thousand_waits_of_one_job_come_and_go_in_linear_time() -> None:
    """Each looked at all others: 20,000 took six seconds to begin."""
    shared = watch()
    loop = asyncio.get_running_loop()
    began = loop.time()
    waits = [wait(float(n)) for n in range(20_000)]
    for each in waits:
        shared.add(each)
    for each in waits:
        shared.remove(each)
    assert shared.waits == []
    assert loop.time() - began < 5  # quadratic: minutes
