"""How every figure looks: one mark for each method, told apart by shape and lightness as well as by colour."""

from collections.abc import Sequence
from typing import Any

import altair as alt

MARKS = {
    "random": ("#8c8c8c", "cross"),
    "bm25": ("#56a3c9", "square"),
    "embedding": ("#2f6f9f", "M-0.5,-0.87L0.5,-0.87L1,0L0.5,0.87L-0.5,0.87L-1,0Z"),
    "likelihood": ("#7fbf9f", "M-1,-0.4H1V0.4H-1Z"),
    "base": ("#b0a78f", "triangle-up"),
    "icl": ("#9c8ac2", "triangle-down"),
    "cot": ("#6f9e7c", "triangle-left"),
    "react": ("#3f7f63", "triangle-right"),
    "ft": ("#e08a00", "diamond"),
    "channel": ("#8a1c4a", "M-0.35,-1H0.35V1H-0.35Z"),
    "masking": ("#b3552b", "M-1.15,-1.15H1.15L-1.15,1.15H1.15Z"),
    "mta": ("#12355b", "circle"),
}
"""Colour and shape (a name of Vega's, or a path) by method, in the order of tables (`params.OF_METHOD`).

From light to dark the trained methods are ft, masking, mta, so that a greyscale print keeps them apart; the colours differ also
where red and green look alike."""

VEGA_LITE = "6.4"
"""The version of Vega-Lite that draws."""
INK, QUIET, RULE = "#1c2430", "#5b6675", "#d9dee5"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK,
        "titleColor": QUIET,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": RULE,
        "domainColor": RULE,
        "tickColor": RULE,
        "labelLimit": 240,
        "labelSeparation": 6,
    },
    "axisXDiscrete": {"labelAngle": -30},
    "legend": {
        "orient": "top",
        "title": None,
        "labelFontSize": 12,
        "labelColor": INK,
        "symbolSize": 90,
        "symbolOpacity": 1,
        "columnPadding": 14,
    },
    "point": {"size": 80, "filled": True, "opacity": 1},
    "rule": {"strokeWidth": 1.6},
    "line": {"strokeWidth": 1.8},
}


def colour(methods: Sequence[str]) -> alt.Color:
    """Return the colours of the methods, which the legend has in their order."""
    return alt.Color("method:N", sort=list(methods), title=None, scale=_scale(methods, 0))


def shape(methods: Sequence[str]) -> alt.Shape:
    """Return their shapes, likewise."""
    return alt.Shape("method:N", sort=list(methods), title=None, scale=_scale(methods, 1))


def _scale(methods: Sequence[str], which: int) -> alt.Scale:
    return alt.Scale(domain=list(methods), range=[MARKS[name][which] for name in methods])
