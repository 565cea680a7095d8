from collections.abc import Mapping
from typing import Any

class ProvidersManager:
    providers: Mapping[str, Any]
    hooks: Mapping[str, Any]
    field_behaviours: Mapping[str, Any]
    connection_form_widgets: Mapping[str, Any]
