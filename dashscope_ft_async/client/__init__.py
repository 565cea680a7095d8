"""`FineTuneClient`, the public client. The modules of this package have its methods, by subject."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, NoReturn, Self

from dashscope_ft_async._api.config import Secret, settings
from dashscope_ft_async._api.connections import Ssl
from dashscope_ft_async._api.events import EventStream
from dashscope_ft_async._api.session import Session
from dashscope_ft_async._api.version import __version__
from dashscope_ft_async._engine.scheduler import Coalesce
from dashscope_ft_async.client.checkpoints import Checkpoints
from dashscope_ft_async.client.jobs import Jobs
from dashscope_ft_async.client.logs import Logs
from dashscope_ft_async.client.many import ManyWaits
from dashscope_ft_async.client.waits import Waiting, Waits
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.hooks import Hook
from dashscope_ft_async.models.checks import checked, is_number
from dashscope_ft_async.models.stats import ClientStats
from dashscope_ft_async.policy import PollPolicy, RetryPolicy, WaitPolicy

if TYPE_CHECKING:
    import aiohttp

__all__ = ["FineTuneClient", "Waiting"]


class FineTuneClient(Jobs, Waits, ManyWaits, Logs, Checkpoints):
    """An asyncio client of the fine-tuning API (``/api/v1/fine-tunes``).

    Use it as ``async with FineTuneClient() as client``, or call `close`. It belongs to the event loop
    and the process that first use it; every job id may also be a `FineTuneJob`.

    Args:
        api_key: Bearer key; else ``DASHSCOPE_API_KEY``, else the official SDK's key file
            (``DASHSCOPE_API_KEY_FILE_PATH`` or ``~/.dashscope/api_key``). It never appears in a repr, a
            log, an error or a pickle.
        base_url: Such as ``https://dashscope-intl.aliyuncs.com/api/v1``, with or without ``/api/v1``;
            else ``DASHSCOPE_BASE_URL`` or ``DASHSCOPE_HTTP_BASE_URL``, unless `region` is given.
        region: Name of a region instead of a URL (``ap-southeast-1``, ``cn-beijing``, ``us-east-1``,
            ``cn-hongkong``; with a workspace also ``eu-central-1`` and ``ap-northeast-1``); else
            ``DASHSCOPE_REGION`` or ``DASHSCOPE_API_REGION``, else ``ap-southeast-1``. A key is valid in
            one region only.
        workspace: Sent as ``X-DashScope-WorkSpace``; else ``DASHSCOPE_WORKSPACE`` or
            ``DASHSCOPE_WORKSPACE_ID``.
        session: An aiohttp session to borrow. The client never closes it.
        timeout: Seconds for one request, headers and body together.
        retry: How failed requests are retried.
        poll: How often waits poll; each wait may have its own.
        coalesce: Whether waits may read list pages, which cost fewer requests than single GETs. ``True``:
            once the list is proven, a complete row is the answer. ``"confirm"``: every end that a page
            shows is confirmed by a GET. ``False``: single GETs only.
        max_rate: Largest number of requests per second that all waits together may make. By default the
            client learns the limit from 429 answers.
        proxy: URL of an HTTP proxy. Environment variables for proxies and netrc files are not read.
        ssl: An `ssl.SSLContext` (for a private CA) or an `aiohttp.Fingerprint`. Verification cannot be
            switched off.
        trace_configs: aiohttp tracing; it sees the request headers, and so the key.
        hooks: Callables that take one event of `dashscope_ft_async.hooks`: requests, retries, throttling,
            changes and waits.
        allow_insecure_http: Allow plain ``http://`` to hosts other than this machine.

    Raises:
        ConfigurationError: before any request, for anything missing, unreadable or contradictory.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        region: str | None = None,
        workspace: str | None = None,
        session: aiohttp.ClientSession | None = None,
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        poll: PollPolicy | None = None,
        coalesce: Coalesce = True,
        max_rate: float | None = None,
        proxy: str | None = None,
        ssl: Ssl | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] | None = None,
        hooks: Iterable[Hook] = (),
        allow_insecure_http: bool = False,
    ) -> None:
        # An exception keeps this frame, and a program that logs it may log the frame's variables.
        secret = None if api_key is None else Secret(api_key)
        del api_key
        given = {"proxy": proxy, "ssl": ssl, "trace_configs": trace_configs}
        clashes = [name for name, value in given.items() if value is not None]
        if session is not None and clashes:
            raise ConfigurationError(
                f"{', '.join(clashes)} cannot be given with session=: they belong to that session."
            )
        if not is_number(timeout) or timeout <= 0:
            raise ConfigurationError(f"timeout must be seconds greater than 0, not {timeout!r}.")
        if max_rate is not None and (not is_number(max_rate) or max_rate <= 0):
            raise ConfigurationError(f"max_rate must be requests per second above 0, not {max_rate!r}.")
        policy = WaitPolicy(
            checked(poll or PollPolicy(), PollPolicy, "poll"),
            checked(retry or RetryPolicy(), RetryPolicy, "retry"),
            timeout,
        )
        if coalesce not in (True, False, "confirm"):
            raise ConfigurationError(f"coalesce must be True, False or 'confirm', not {coalesce!r}.")
        events = EventStream(hooks)
        where = settings(
            api_key=secret,
            base_url=base_url,
            region=region,
            workspace=workspace,
            allow_insecure_http=allow_insecure_http,
        )
        connection = Session(
            where,
            timeout=timeout,
            user_agent=f"dashscope-ft-async/{__version__}",
            borrowed=session,
            proxy=proxy,
            ssl=ssl,
            trace_configs=trace_configs,
        )
        super().__init__(where, connection, policy, events, coalesce=coalesce, max_rate=max_rate)

    def __repr__(self) -> str:
        if not hasattr(self, "_runner"):  # __init__ raised, and a traceback shows its variables
            return "<FineTuneClient not made>"
        stats = self.stats()
        return f"<FineTuneClient {self._session.shown_url} waits={stats.waits} requests={stats.requests}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FineTuneClient cannot be pickled: make one in each process.")

    @property
    def base_url(self) -> str:
        """The URL of the service, ``/api/v1`` included; as in a `WatchState`."""
        return self._settings.base_url

    @property
    def workspace(self) -> str | None:
        """The workspace of its requests, or `None`; as in a `WatchState`."""
        return self._settings.workspace

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._session.closed

    async def __aenter__(self) -> Self:
        self._session.check_usable()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def stats(self) -> ClientStats:
        """What the client is doing at this moment, and has done so far."""
        if self._made_scheduler is not None:
            return self._made_scheduler.stats()
        gate = self._runner.gate
        return ClientStats(
            waits=0,
            jobs=0,
            queued=0,
            in_flight=0,
            requests=self._runner.requests,
            observations=0,
            window=gate.window,
            rate=gate.rate if isfinite(gate.rate) else None,
            list_state="unproven" if self._coalesce else "off",
            list_reason=None,
        )

    async def close(self) -> None:
        """End every wait with `ClientClosedError` and close the connections; nothing is left running.

        A borrowed session stays open. May be called again. If it is cancelled, the connections are closed
        all the same.

        Raises:
            ConfigurationError: called from another event loop or process than the client's.
        """
        self._session.check_owner()
        try:
            if self._made_scheduler is not None:
                await self._made_scheduler.close()
        finally:
            await self._session.close()
