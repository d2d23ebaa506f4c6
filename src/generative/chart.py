"""Loss curves as SVG that stands inside a page: its text and lines take the page's colours, light or dark."""

from __future__ import annotations

import html
from io import StringIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

HELD_OUT = "validation"
INK, LINES = "#010203", ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04")  # stand-ins, exchanged for the page's own colours
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.5,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.5,
    "ytick.major.size": 0,
}


def charts(curve: pd.DataFrame) -> list[str]:
    """A chart for each term of a curve: a figure element with training and held-out values over the steps."""
    terms = list(dict.fromkeys(column.rpartition("/")[2] for column in curve.columns if column != "step"))
    # what is measured on held-out data says more, so it comes first
    terms.sort(key=lambda term: f"{HELD_OUT}/{term}" not in curve.columns)
    return [_chart(curve, term) for term in terms]


def _chart(curve: pd.DataFrame, term: str) -> str:
    columns = [column for column in curve.columns if column.rpartition("/")[2] == term]
    series = {column.rpartition("/")[0]: curve[["step", column]].dropna().to_numpy() for column in columns}
    series = {name: points for name, points in series.items() if len(points)}
    several = len(series) - (HELD_OUT in series) > 1
    labels = {name: "held out" if name == HELD_OUT else name if several else "training" for name in series}
    keys = "".join(f'<span class="key line{i + 1}">{html.escape(label)}</span>' for i, label in enumerate(labels.values()))
    return f'<figure class="chart"><figcaption>{html.escape(term)} {keys}</figcaption>{_svg(series, term)}</figure>'


def _svg(series: dict[str, Any], term: str) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": term}):
        figure = Figure(figsize=(3.4, 1.9), layout="constrained")
        axes = figure.add_subplot()
        for (name, points), colour in zip(series.items(), LINES, strict=False):
            dots = "o" if name == HELD_OUT and len(points) <= 30 else ""
            axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=1.3, marker=dots, markersize=2.6)
        _scale(axes, series)
        out = StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{html.escape(term)} over the steps" ', 1)
    svg = svg.replace(INK, "currentColor").replace("font: 9px 'DejaVu Sans'", "font: 9px inherit")
    for i, colour in enumerate(LINES):
        svg = svg.replace(colour, f"var(--line{i + 1})")
    return svg


def _scale(axes: Axes, series: dict[str, Any]) -> None:
    """Few, plain ticks; a logarithmic axis for what falls far, else room for all but the first plunge."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    last = max(points[-1, 0] for points in series.values())
    settled = [value for points in series.values() for step, value in points if step >= last * 0.05]
    low, high = min(settled), max(settled)
    if low > 0 and high / low > 10:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100 else (1.0,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        room = (high - low or abs(high) or 1.0) * 0.07
        axes.set_ylim(low - room, high + room)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
