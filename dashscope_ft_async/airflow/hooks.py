"""The connection type ``dashscope``: an Airflow connection with the key and the address of the service."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

from airflow.sdk import Connection
from asgiref.sync import sync_to_async

from dashscope_ft_async import ConfigurationError, FineTuneClient, shared_client

try:
    from airflow.sdk import BaseHook
except ImportError:  # Airflow 3.0
    from airflow.hooks.base import BaseHook
try:
    from airflow.sdk.exceptions import AirflowNotFoundException
except ImportError:  # Airflow 3.0 and 3.1
    from airflow.exceptions import AirflowNotFoundException

DEFAULT_CONNECTION = "dashscope_default"


class DashScopeHook(BaseHook):
    """A client for the account of an Airflow connection.

        async with DashScopeHook().client() as client:
            job = await client.create(model="qwen3-14b", training_file_ids=[file_id])

    Args:
        dashscope_conn_id: The connection. Its password is the API key and its host the base URL;
            ``region``, ``workspace`` and ``coalesce`` (`true`, `false` or ``"confirm"``) are extras, with
            the meaning that they have for `FineTuneClient`. What it does not set comes from the
            environment. If ``dashscope_default`` does not exist, everything does.
    """

    conn_name_attr = "dashscope_conn_id"
    default_conn_name = DEFAULT_CONNECTION
    conn_type = "dashscope"
    hook_name = "Alibaba Cloud DashScope"

    def __init__(self, dashscope_conn_id: str = DEFAULT_CONNECTION) -> None:
        super().__init__()
        self.dashscope_conn_id = dashscope_conn_id

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[FineTuneClient, None]:
        """A client that is shared by all callers in this event loop that use the same account.

        Raises:
            AirflowNotFoundException: there is no such connection.
            ConfigurationError: there is no key, or a setting of the connection is not possible.
        """
        async with await self._shared_client() as client:
            yield client

    async def _shared_client(self) -> AbstractAsyncContextManager[FineTuneClient]:
        try:
            connection = await self._connection()
        except AirflowNotFoundException:
            if self.dashscope_conn_id != DEFAULT_CONNECTION:
                raise
            return shared_client()
        try:
            return _client_of(connection)
        except ConfigurationError as error:
            # The frames hold the connection, and its password is shown where a frame is logged.
            refusal = error.with_traceback(None)
        del connection
        raise refusal

    async def _connection(self) -> Connection:
        if hasattr(self, "aget_connection"):
            return await self.aget_connection(self.dashscope_conn_id)
        # Airflow 3.0 has only a function that blocks, and in a triggerer it needs asgiref's threads.
        return await sync_to_async(self.get_connection)(self.dashscope_conn_id)


def _client_of(connection: Connection) -> AbstractAsyncContextManager[FineTuneClient]:
    extra = _extra(connection.extra)
    texts = {name: value for name in ("region", "workspace") if isinstance(value := extra.get(name), str)}
    coalesce = extra.get("coalesce")
    return shared_client(
        connection.password or None,
        base_url=_base_url(connection),
        region=texts.get("region") or None,
        workspace=texts.get("workspace") or None,
        # FineTuneClient checks the value.
        coalesce=True if coalesce is None else cast("bool", coalesce),
    )


def _extra(text: str | None) -> dict[str, Any]:
    try:
        decoded: object = json.loads(text or "{}")
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise ConfigurationError("the extra of the connection must be a JSON object.")
    return cast("dict[str, Any]", decoded)


def _base_url(connection: Connection) -> str | None:
    """The host of the connection if it is a URL, else a URL of the parts of Airflow's connection URI."""
    host = connection.host
    if not host or "://" in host:
        return host or None
    port = "" if connection.port is None else f":{connection.port}"
    return f"{connection.schema or 'https'}://{host}{port}"
