"""For mkdocstrings: what a field begins with, instead of the code that gives it that value."""

from __future__ import annotations

from typing import Any

import griffe


class AttrsFields(griffe.Extension):
    """Shows the default of an ``attrs.field``, and nothing where a parameter of the same name is kept."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """See griffe."""
        value = attr.value
        if isinstance(value, griffe.ExprCall) and str(value.function) == "attrs.field":
            keywords = [given for given in value.arguments if isinstance(given, griffe.ExprKeyword)]
            attr.value = next((given.value for given in keywords if given.name == "default"), None)
        elif str(value) == attr.name:
            attr.value = None
