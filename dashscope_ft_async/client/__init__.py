"""`FineTuneClient`, the front desk: it composes the floors below and decides nothing itself.

Its methods live in wings, one per concern, over the one core they share.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn, Self

from dashscope_ft_async._api.config import Secret, settings
from dashscope_ft_async._api.session import Session, Ssl
from dashscope_ft_async._api.version import __version__
from dashscope_ft_async.client.checkpoints import Checkpoints
from dashscope_ft_async.client.crowds import Crowds
from dashscope_ft_async.client.jobs import Jobs
from dashscope_ft_async.client.logs import Logs
from dashscope_ft_async.client.waits import Waiting, Waits
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models.checks import checked, is_number
from dashscope_ft_async.policy import PollPolicy, RetryPolicy, WaitPolicy

if TYPE_CHECKING:
    import aiohttp

    from dashscope_ft_async._api.telling import Telling
    from dashscope_ft_async.hooks import Hook

__all__ = ["FineTuneClient", "Waiting"]


class FineTuneClient(Jobs, Waits, Crowds, Logs, Checkpoints):
    """An asyncio client of the fine-tuning API (``/api/v1/fine-tunes``) that waits well.

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
        session: An aiohttp session to borrow. It is never closed here.
        timeout: Seconds for one request, headers and body together.
        retry: How failed requests are tried again.
        poll: How often waits ask; each wait may have its own.
        coalesce: Whether waits may be answered by pages of the list, where a page costs less than its
            jobs one by one. Nothing else changes.
        max_rate: Most requests per second that waits may make, all together. By default what the
            service's refusals teach.
        proxy: URL of an HTTP proxy. Proxy variables and netrc files are not read.
        ssl: An `ssl.SSLContext` (for a private CA) or an `aiohttp.Fingerprint`. Verification cannot be
            switched off.
        trace_configs: aiohttp tracing; it sees the request headers and so the key.
        hooks: Told of requests, retries, throttling, changes and waits: callables that take one event of
            `dashscope_ft_async.hooks`.
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
        coalesce: bool = True,
        max_rate: float | None = None,
        proxy: str | None = None,
        ssl: Ssl | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] | None = None,
        hooks: Iterable[Hook] = (),
        allow_insecure_http: bool = False,
    ) -> None:
        # What is raised from here on keeps this frame, and whoever logs it may log the frame's variables.
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
        told = _telling(hooks)
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
            hooks=told,
        )
        super().__init__(where, connection, policy, coalesce=bool(coalesce), max_rate=max_rate, hooks=told)

    def __repr__(self) -> str:
        if not hasattr(self, "_hub"):  # refused, and shown as a variable of a traceback
            return "<FineTuneClient not made>"
        return f"<FineTuneClient {self._session!r} {self._hub!r}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FineTuneClient cannot be pickled: make one in each process.")

    @property
    def base_url(self) -> str:
        """Where it asks, ``/api/v1`` included; as in a `WatchState`."""
        return self._where.base_url

    @property
    def workspace(self) -> str | None:
        """The workspace it asks for, or `None`; as in a `WatchState`."""
        return self._where.workspace

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._session.closed

    async def __aenter__(self) -> Self:
        self._session.check_usable()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End every wait with `ClientClosedError` and close the connections; nothing is left running.

        A borrowed session stays open. May be called again.

        Raises:
            ConfigurationError: called from another event loop or process than the client's.
        """
        self._session.check_home()
        if self._hub is not None:
            await self._hub.close()
        await self._session.close()
        self._closing.set()


def _telling(hooks: Iterable[Hook]) -> Telling | None:
    if hooks == () or hooks == []:
        return None
    from dashscope_ft_async._api.telling import Telling

    return Telling(hooks)
