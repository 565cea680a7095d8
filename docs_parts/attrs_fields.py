"""For mkdocstrings: a field of an attrs class shows its default, not the call that declares it."""

from __future__ import annotations

from typing import Any

import griffe


class AttrsFields(griffe.Extension):
    """Puts the default of an ``attrs.field`` in the place of its declaration."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """See griffe."""
        call = attr.value
        if isinstance(call, griffe.ExprCall) and str(call.function) == "attrs.field":
            keywords = [given for given in call.arguments if isinstance(given, griffe.ExprKeyword)]
            attr.value = next((given.value for given in keywords if given.name == "default"), None)
