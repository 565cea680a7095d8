"""The door to vl-convert, which draws charts without a browser and without the network."""

from __future__ import annotations

from typing import Any

import vl_convert

_NOTHING_FROM_OUTSIDE: list[str] = []
_SCALE = 2.0


def svg(spec: dict[str, Any]) -> str:
    """The chart as an SVG element."""
    return vl_convert.vegalite_to_svg(spec, allowed_base_urls=_NOTHING_FROM_OUTSIDE)


def png(spec: dict[str, Any]) -> bytes:
    """The chart as a PNG file, two pixels for each of CSS."""
    return vl_convert.vegalite_to_png(spec, scale=_SCALE, allowed_base_urls=_NOTHING_FROM_OUTSIDE)


def script(snippet: str) -> str:
    """`snippet` and the libraries that it needs, as one script. Takes seconds."""
    return vl_convert.javascript_bundle(snippet)
