"""A mkdocstrings extension: show the default of an attrs field instead of its `attrs.field(...)` call."""

from __future__ import annotations

from typing import Any

import griffe


class AttrsFields(griffe.Extension):
    """Replace ``attrs.field(default=x)`` with ``x``; hide the value of ``self.name = name``."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Called by griffe for each attribute it has read."""
        value = attr.value
        if isinstance(value, griffe.ExprCall) and str(value.function) == "attrs.field":
            keywords = [given for given in value.arguments if isinstance(given, griffe.ExprKeyword)]
            attr.value = next((given.value for given in keywords if given.name == "default"), None)
        elif str(value) == attr.name:
            attr.value = None
