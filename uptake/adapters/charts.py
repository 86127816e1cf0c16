"""Charts as inline SVG, drawn offline. Colours are legible on light and on dark paper."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

_INK = "#6f7782"  # 4.5:1 on white and on near-black
_ACCENT = "#2f6fed"
_QUIET = "#9fb4d8"
_ZERO = "#b4532a"
# What no XML may hold: one such character in a feature's name, and the renderer ends the whole process.
_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def breadth_histogram(breadths: Sequence[float]) -> str:
    """Draw how many accounts use which share of what they pay for, in steps of ten percent."""
    counts = [0] * 10
    for breadth in breadths:
        counts[min(int(breadth * 10), 9)] += 1
    rows = [
        {"share": f"{low * 10}-{low * 10 + 10} %", "order": low, "accounts": count} for low, count in enumerate(counts)
    ]
    return _svg(
        {
            "data": {"values": rows},
            "mark": {"type": "bar", "color": _ACCENT, "cornerRadiusEnd": 2},
            "encoding": {
                "x": {
                    "field": "share",
                    "type": "nominal",
                    "sort": {"field": "order"},
                    "title": "share of paid features in use",
                    "axis": {"labelAngle": 0},
                },
                "y": {"field": "accounts", "type": "quantitative", "title": "accounts", "axis": {"tickMinStep": 1}},
            },
            "width": 640,
            "height": 220,
        }
    )


def share_over_time(points: Sequence[tuple[datetime, float]]) -> str:
    """Draw the share of paid functionality in use, snapshot by snapshot."""
    rows = [{"as_of": as_of.isoformat(), "share": share} for as_of, share in points]
    return _svg(
        {
            "data": {"values": rows},
            "mark": {"type": "line", "color": _ACCENT, "point": {"filled": True, "size": 30}},
            "encoding": {
                "x": {
                    "field": "as_of",
                    "type": "temporal",
                    "title": None,
                    "axis": {"format": "%-d %b", "tickCount": 8},
                },
                "y": {
                    "field": "share",
                    "type": "quantitative",
                    "title": "in use",
                    "axis": {"format": ".1%"},
                    "scale": {"zero": False, "nice": True},
                },
            },
            "width": 640,
            "height": 180,
        }
    )


def lift_intervals(rows: Sequence[tuple[str, float, float, float]]) -> str:
    """Draw each playbook's lift in percentage points with its interval: (playbook, lift, lower, upper) as shares."""
    values = [
        {"playbook": name, "lift": lift * 100, "lower": lower * 100, "upper": upper * 100}
        for name, lift, lower, upper in rows
    ]
    y = {"field": "playbook", "type": "nominal", "title": None, "axis": {"labelLimit": 260}}
    return _svg(
        {
            "data": {"values": values},
            "layer": [
                {"mark": {"type": "rule", "color": _ZERO, "strokeDash": [4, 3]}, "encoding": {"x": {"datum": 0}}},
                {
                    "mark": {"type": "rule", "color": _ACCENT, "strokeWidth": 3},
                    "encoding": {
                        "y": y,
                        "x": {"field": "lower", "type": "quantitative", "title": "lift, percentage points"},
                        "x2": {"field": "upper"},
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 110, "color": _ACCENT, "opacity": 1},
                    "encoding": {"y": y, "x": {"field": "lift", "type": "quantitative"}},
                },
            ],
            "width": 520,
            "height": {"step": 46},
        }
    )


def feature_bars(rows: Sequence[tuple[str, float, float]]) -> str:
    """Draw per feature the share of paying accounts that adopted it, and that ever used it: (name, adopted, used)."""
    values = [
        {"feature": name, "adopted": adopted, "used": used, "order": n} for n, (name, adopted, used) in enumerate(rows)
    ]
    y = {"field": "feature", "type": "nominal", "sort": {"field": "order"}, "title": None, "axis": {"labelLimit": 220}}
    x = {
        "type": "quantitative",
        "axis": {"format": ".0%"},
        "title": "accounts that pay for it",
        "scale": {"domain": [0, 1]},
    }
    return _svg(
        {
            "data": {"values": values},
            "layer": [
                {
                    "mark": {"type": "bar", "color": _QUIET, "height": 11},
                    "encoding": {"y": y, "x": {**x, "field": "used"}},
                },
                {
                    "mark": {"type": "bar", "color": _ACCENT, "height": 11},
                    "encoding": {"y": y, "x": {**x, "field": "adopted"}},
                },
            ],
            "width": 460,
            "height": {"step": 17},
        }
    )


def _svg(spec: dict[str, Any]) -> str:
    import vl_convert  # loads a JavaScript engine: only when a chart is drawn

    text = {"labelColor": _INK, "titleColor": _INK, "domainColor": _INK, "tickColor": _INK, "gridColor": "#8883"}
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": None,
        "padding": {"left": 14, "right": 8, "top": 5, "bottom": 5},  # fonts differ from the ones Vega measures with
        "config": {
            "font": "system-ui, sans-serif",
            "axis": {**text, "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
            "view": {"stroke": None},
        },
        **spec,
    }
    spec = _drawable(spec)
    svg: str = vl_convert.vegalite_to_svg(spec, vl_version="5.21")
    # Vega numbers its clip paths over the life of the process: name them by content, so that equal charts are equal.
    name = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]
    numbers: dict[str, int] = {}
    svg = re.sub(r"clip(\d+)", lambda m: f"clip-{name}-{numbers.setdefault(m[1], len(numbers))}", svg)
    return svg.replace("<svg ", '<svg role="presentation" focusable="false" ', 1)


def _drawable(value: Any) -> Any:
    """Return a value with a replacement for every character that an SVG may not hold."""
    match value:
        case str():
            return _NOT_IN_XML.sub("\ufffd", value)
        case dict():
            return {key: _drawable(inner) for key, inner in value.items()}
        case list():
            return [_drawable(inner) for inner in value]
        case _:
            return value
