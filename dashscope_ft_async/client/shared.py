"""One client for all who ask as the same account in one event loop: `shared_client`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from inspect import signature
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast
from weakref import WeakKeyDictionary, WeakSet

from dashscope_ft_async._api.config import Secret, Settings, settings
from dashscope_ft_async._api.session import Ssl
from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.policy import PollPolicy, RetryPolicy

if TYPE_CHECKING:
    import aiohttp

    from dashscope_ft_async.hooks import Hook


class Options(TypedDict, total=False):
    """Options of a shared client: those of `FineTuneClient`, but `session`, which has its owner."""

    timeout: float
    retry: RetryPolicy | None
    poll: PollPolicy | None
    coalesce: bool
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
    """A client and how many are in."""

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


# Weak at both ends: only those who are in keep an entry alive, so a loop that dies takes everything along.
_SHARED: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakSet[_Shared]] = WeakKeyDictionary()


class _Entrance(AbstractAsyncContextManager[FineTuneClient]):
    """What `shared_client` returns; to be entered once."""

    def __init__(self, mine: _Shared) -> None:
        self._mine: _Shared | None = mine
        self._entered: _Shared | None = None
        self._all: WeakSet[_Shared] = WeakSet()

    async def __aenter__(self) -> FineTuneClient:
        mine, self._mine = self._mine, None
        if mine is None:
            raise ConfigurationError("enter it once: call shared_client() for each async with.")
        self._all = _SHARED.setdefault(asyncio.get_running_loop(), WeakSet())
        shared = next((one for one in self._all if one.serves(mine.where, mine.options)), mine)
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
                # Whoever comes while it closes makes a new one.
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
    """One client for everybody in this event loop who asks the same host, as the same workspace, with the
    same key and the same options.

        async with shared_client() as client:
            job = await client.wait_for_terminal(job_id)

    The first to enter makes it, and the last to leave closes it, so that a thousand waits that know
    nothing of each other ride on one driver and one learned rate. A caller with other options gets
    another client, never one that behaves otherwise than asked for; values without an equality of their
    own, such as an `ssl.SSLContext`, a hook or a tenacity strategy, are the same only where they are the
    same object. A wait that is begun inside must end inside.

    Args:
        api_key: As of `FineTuneClient`; what counts of the first four is what they, the environment and
            the key file come to.
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
        raise ConfigurationError("session= cannot be shared: whoever made it decides when it is closed.")
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
    return _Entrance(_Shared(client, where, given))


def _kept(value: Any) -> Any:
    """A list as it is now, since it may be changed later."""
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value
