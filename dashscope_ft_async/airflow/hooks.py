"""The connection type ``dashscope``: where key and host come from."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import cast

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from dashscope_ft_async.client import FineTuneClient
from dashscope_ft_async.client.shared import shared_client
from dashscope_ft_async.errors import ConfigurationError

DEFAULT_CONNECTION = "dashscope_default"


class DashScopeHook(BaseHook):
    """A client for the account of an Airflow connection.

        async with DashScopeHook().client() as client:
            job = await client.create(model="qwen3-14b", training_file_ids=[file_id])

    Args:
        dashscope_conn_id: A connection: its password is the API key, its host the base URL, ``region`` and
            ``workspace`` are extras. What it leaves out, the environment gives, as for `FineTuneClient`;
            where ``dashscope_default`` does not exist, that gives all.
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
        """A client that is shared by all in this event loop that ask as the same account.

        Raises:
            AirflowNotFoundException: there is no such connection.
            ConfigurationError: no key, or what the connection says cannot be.
        """
        async with await self._entrance() as client:
            yield client

    async def _entrance(self) -> AbstractAsyncContextManager[FineTuneClient]:
        try:
            connection = await self.aget_connection(self.dashscope_conn_id)
        except AirflowNotFoundException:
            if self.dashscope_conn_id != DEFAULT_CONNECTION:
                raise
            return shared_client()
        try:
            return _shared(connection)
        except ConfigurationError as error:
            # Its frames hold the connection, and that shows its password to whoever logs a frame.
            refusal = error.with_traceback(None)
        del connection
        raise refusal


def _shared(connection: Connection) -> AbstractAsyncContextManager[FineTuneClient]:
    extra = _extra(connection.extra)
    return shared_client(
        connection.password or None,
        base_url=_base_url(connection),
        region=extra.get("region") or None,
        workspace=extra.get("workspace") or None,
    )


def _extra(text: str | None) -> dict[str, str]:
    try:
        found: object = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigurationError("the extra of the connection must be a JSON object.")
    return {
        name: value for name, value in cast("dict[str, object]", found).items() if isinstance(value, str)
    }


def _base_url(connection: Connection) -> str | None:
    """The URL that the connection names, written out or in the parts of Airflow's connection URI."""
    host = connection.host
    if not host or "://" in host:
        return host or None
    port = "" if connection.port is None else f":{connection.port}"
    return f"{connection.schema or 'https'}://{host}{port}"
