"""`shared_client`: one client for all callers in an event loop that use the same account and options."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from inspect import signature
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast
from weakref import WeakKeyDictionary, WeakSet

from dashscope_ft_async._api.config import Secret, Settings, settings
from dashscope_ft_async._api.connections import Ssl
from dashscope_ft_async._engine.scheduler import Coalesce
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.hooks import Hook
from dashscope_ft_async.policy import PollPolicy, RetryPolicy

if TYPE_CHECKING:
    import aiohttp


class Options(TypedDict, total=False):
    """Options of a shared client: those of `FineTuneClient`, but `session`, which has its owner."""

    timeout: float
    retry: RetryPolicy | None
    poll: PollPolicy | None
    coalesce: Coalesce
    max_rate: float | None
    proxy: str | None
    ssl: Ssl | None
    trace_configs: Sequence[aiohttp.TraceConfig] | None
    hooks: Iterable[Hook]


_DEFAULTS = {
    name: parameter.default
    for name, parameter in signature(FineTuneClient).parameters.items()
    if name in Options.__annotations__
}


class _Shared:
    """A shared client and the number of its users."""

    def __init__(self, client: FineTuneClient, where: Settings, options: dict[str, Any]) -> None:
        self.client = client
        self.where = where
        self.options = options
        self.users = 0

    def serves(self, where: Settings, options: dict[str, Any]) -> bool:
        ours = self.where
        return (
            not self.client.closed
            and (ours.base_url, ours.workspace) == (where.base_url, where.workspace)
            and ours.api_key.is_same(where.api_key)
            and self.options == options
        )


# Both references are weak: only the users of a client keep it here, so nothing outlives its event loop.
_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[_Shared]] = WeakKeyDictionary()


class _Use(AbstractAsyncContextManager[FineTuneClient]):
    """One use of a shared client; it can be entered once."""

    def __init__(self, own: _Shared) -> None:
        self._own: _Shared | None = own
        self._entered: _Shared | None = None
        self._all: WeakSet[_Shared] = WeakSet()

    async def __aenter__(self) -> FineTuneClient:
        own, self._own = self._own, None
        if own is None:
            raise ConfigurationError("call shared_client() anew for each async with block.")
        self._all = _SHARED.setdefault(asyncio.get_running_loop(), WeakSet())
        shared = next((one for one in self._all if one.serves(own.where, own.options)), own)
        await shared.client.__aenter__()
        self._all.add(shared)
        shared.users += 1
        self._entered = shared
        return shared.client

    async def __aexit__(self, *_: object) -> None:
        shared, self._entered = self._entered, None
        if shared is not None:
            shared.users -= 1
            if not shared.users:
                # A caller that enters while it closes makes a new client.
                self._all.discard(shared)
                await shared.client.close()


def shared_client(
    api_key: str | None = None,
    *,
    base_url: str | None = None,
    region: str | None = None,
    workspace: str | None = None,
    allow_insecure_http: bool = False,
    **options: Unpack[Options],
) -> AbstractAsyncContextManager[FineTuneClient]:
    """One client for all callers in this event loop that use the same host, workspace, key and options.

        async with shared_client() as client:
            job = await client.wait_for_terminal(job_id)

    The first ``async with`` makes the client, and the end of the last one closes it, so that a thousand
    independent waits share one scheduler and one learned rate. A caller with other options gets another
    client. Options that compare by identity, such as an `ssl.SSLContext`, a hook or a tenacity strategy,
    are the same only if they are the same object. A wait that begins in the block must end in it.

    Args:
        api_key: As of `FineTuneClient`. The first four arguments are compared as they are resolved, with
            the environment and the key file.
        base_url: As of `FineTuneClient`.
        region: As of `FineTuneClient`.
        workspace: As of `FineTuneClient`.
        allow_insecure_http: As of `FineTuneClient`.
        options: The others of `FineTuneClient`, but `session`.

    Raises:
        ConfigurationError: as `FineTuneClient`, at once; on entering for the second time.
    """
    secret = None if api_key is None else Secret(api_key)
    del api_key
    if "session" in options:
        raise ConfigurationError("session= cannot be shared: its owner decides when it is closed.")
    given: dict[str, Any] = {name: _kept(value) for name, value in {**_DEFAULTS, **options}.items()}
    given |= {"poll": given["poll"] or PollPolicy(), "retry": given["retry"] or RetryPolicy()}
    where = settings(
        api_key=secret,
        base_url=base_url,
        region=region,
        workspace=workspace,
        allow_insecure_http=allow_insecure_http,
    )
    client = FineTuneClient(
        where.api_key.reveal(),
        base_url=where.base_url,
        workspace=where.workspace,
        allow_insecure_http=allow_insecure_http,
        **given,
    )
    return _Use(_Shared(client, where, given))


def _kept(value: Any) -> Any:
    """A copy of a list, which its owner may change later."""
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value
