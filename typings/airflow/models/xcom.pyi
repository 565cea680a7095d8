from typing import Any

class XComModel:
    map_index: int
    @classmethod
    def get_many(cls, *, run_id: str, dag_ids: str, task_ids: str, key: str) -> Any: ...
    @staticmethod
    def deserialize_value(row: Any) -> Any: ...
