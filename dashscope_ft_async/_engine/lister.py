"""Pages of the account's list, asked for while they are worth it and can be trusted.

No failure of the list is a failure of anyone who waits: it ends a walk early, and those who were not
shown are polled one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TypeAlias

from dashscope_ft_async._api.gate import Gate
from dashscope_ft_async._api.journal import Journal
from dashscope_ft_async._api.wire import ScannedPage
from dashscope_ft_async._engine.list_planner import Roster
from dashscope_ft_async.errors import APIError, APITimeoutError, RateLimitError
from dashscope_ft_async.policy import is_transient

FetchPage: TypeAlias = Callable[[int], Awaitable[ScannedPage]]

PAGE_PATIENCE = 5.0
"""Seconds that one page may take; a slower list is dearer than it looked."""
_AT_ONCE = 4


class Lister:
    """Walks the list. `fetch` makes one attempt to get a page and raises our errors.

    `gate` is the list's own: where the list is throttled, single polls go on. `account` is the gate of
    single polls: a page takes its turn there too, and no page goes out while that one is closed.
    """

    def __init__(
        self,
        fetch: FetchPage,
        gate: Gate,
        account: Gate,
        journal: Journal,
        uniform: Callable[[], float],
    ) -> None:
        self._fetch = fetch
        self._gate = gate
        self._account = account
        self._uniform = uniform
        self._loop = asyncio.get_running_loop()
        self.roster = Roster(journal.list_given_up)
        self.walked_whole_list = False
        """Whether the last walk read every page there is."""

    def usable(self, now: float) -> bool:
        """Whether a page may be asked for at `now`."""
        return max(self.roster.off_until, self._gate.next_at, self._account.next_at) <= now

    async def walk(
        self, ranks: Callable[[], Iterable[int | None]]
    ) -> AsyncGenerator[tuple[int, float, ScannedPage], None]:
        """Number, time of the request and content of each page worth asking for.

        `ranks` gives the places in the list of those who are still to be shown; it is asked again after
        every few pages, since jobs move.
        """
        self.walked_whole_list = False
        asked: set[int] = set()
        while pages := self.roster.worth(ranks(), asked):
            # Looking at all ranks again after each few pages would be quadratic in the jobs.
            ahead = pages[: max(_AT_ONCE, len(pages) // 8)]
            while ahead:
                width = min(_AT_ONCE, self._gate.window)
                batch, ahead = ahead[:width], ahead[width:]
                asked.update(batch)
                began = self._loop.time()
                for number, page in zip(batch, await asyncio.gather(*map(self._page, batch)), strict=True):
                    if page is None:
                        return
                    yield number, began, page
                await asyncio.sleep(max(0.0, self._gate.next_at - self._loop.time()))
        self.walked_whole_list = len(asked) >= self.roster.last_page

    async def _page(self, number: int) -> ScannedPage | None:
        began = self._loop.time()
        self._gate.sent(began)
        self._account.sent(began)
        outcome: ScannedPage | APIError
        try:
            async with asyncio.timeout(PAGE_PATIENCE):
                outcome = await self._fetch(number)
        except APIError as error:
            outcome = error
        except TimeoutError:
            outcome = APITimeoutError(f"no page within {PAGE_PATIENCE:g} s")
        now = self._loop.time()
        self._gate.saw(outcome, began=began, now=now, u=self._uniform())
        if not isinstance(outcome, APIError):
            self.roster.learned(outcome.page_size, outcome.total)
            return outcome
        if not (isinstance(outcome, RateLimitError) and is_transient(outcome)):
            self.roster.failed(outcome, now)
        return None
