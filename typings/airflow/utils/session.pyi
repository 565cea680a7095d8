from contextlib import AbstractContextManager
from typing import Any

def create_session() -> AbstractContextManager[Any]: ...
