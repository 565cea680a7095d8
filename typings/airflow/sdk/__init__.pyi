from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from logging import Logger
from typing import Any, NoReturn, Self, TypedDict

from airflow.triggers.base import BaseTrigger

class Connection:
    conn_id: str
    host: str | None
    schema: str | None
    password: str | None
    port: int | None
    extra: str | None

class BaseHook:
    def __init__(self, logger_name: str | None = None) -> None: ...
    @classmethod
    def get_connection(cls, conn_id: str) -> Connection: ...
    @classmethod
    async def aget_connection(cls, conn_id: str) -> Connection: ...

class TaskInstance:
    start_date: datetime
    def xcom_push(self, key: str, value: object) -> None: ...

class Context(TypedDict):
    ti: TaskInstance

class XComArg: ...

class BaseOperator:
    template_fields: Sequence[str]
    task_id: str
    execution_timeout: timedelta | None
    do_xcom_push: bool
    output: Any
    def __init__(
        self, *, task_id: str, execution_timeout: timedelta | None = None, **kwargs: Any
    ) -> None: ...
    @classmethod
    def partial(cls, **kwargs: Any) -> Any: ...
    @property
    def log(self) -> Logger: ...
    def defer(
        self, *, trigger: BaseTrigger, method_name: str, timeout: timedelta | None = None
    ) -> NoReturn: ...
    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any: ...

class BaseSensorOperator(BaseOperator):
    timeout: float
    soft_fail: bool

class DAG:
    def __init__(self, dag_id: str, *, schedule: str | None = None, **kwargs: Any) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
    def test(self, run_conf: Mapping[str, Any] | None = None) -> Any: ...

def task(function: Callable[..., Any]) -> Callable[..., Any]: ...
