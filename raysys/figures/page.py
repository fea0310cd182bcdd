"""One HTML page that needs nothing else: escaped text, tables, and charts that draw themselves.

A content security policy lets the page ask nobody for anything.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa
from plotly.offline import get_plotlyjs

_WIDTH, _HEIGHT = 680, 420
"""Of a chart in CSS pixels: as wide as A4 within its margins."""

_STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #111; font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #999; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 0.85rem; }
caption { text-align: left; font-weight: 600; padding-bottom: 0.25rem; }
th, td { border: 1px solid #bbb; padding: 0.2rem 0.5rem; text-align: left; vertical-align: top; }
td { white-space: nowrap; }
td:last-child, .settings td { white-space: normal; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.knee { font-weight: 600; }
tr.knee td:last-child { font-weight: 400; }
figure { margin: 1rem 0; }
figcaption { font-size: 0.85rem; color: #444; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f4f4; padding: 0.5rem; }
.note { border-left: 4px solid #D55E00; padding-left: 0.75rem; }
@page { size: A4; margin: 15mm; }
@media print {
  body { color: #000; font-size: 10pt; }
  main { max-width: none; padding: 0; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; width: 100%; }
  .points td:last-child { width: 50%; }
  tbody tr:first-child { break-before: avoid; }
  pre { background: none; border: 1px solid #bbb; }
  figure, tr { break-inside: avoid; }
  h2, caption { break-after: avoid; }
}
"""

WITHOUT_SCRIPTS = """<p class='note' id='without-scripts'>Charts need scripts; the tables do not.</p>
<script>document.getElementById("without-scripts").remove()</script>"""
"""No noscript: a program that takes scripts out of a file may still claim to run them."""

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
<script>{plotly}</script>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="{name}">{data}</script>
</body>
</html>
"""


def page(title: str, body: Iterable[str], name: str, data: dict[str, Any]) -> str:
    """The page with the parts of its body, about 5 MB; `data` is in it as JSON, in the element `name`."""
    return _PAGE.format(
        policy=_POLICY,
        title=escape(title),
        style=_STYLE,
        plotly=get_plotlyjs(),
        body="\n".join(filter(None, body)),
        name=name,
        data=json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
    )


def chart(name: str, figure: go.Figure, alt: str) -> str:
    """A figure of fixed size, so that it is the same on paper; in SVG, which needs no WebGL."""
    drawn = go.Figure(
        data=[
            {**trace.to_plotly_json(), "type": "scatter"} if trace.type == "scattergl" else trace
            for trace in figure.data
        ],
        layout=figure.layout,
    )
    drawn.update_layout(width=_WIDTH, height=figure.layout.height or _HEIGHT)
    config = {"displaylogo": False, "responsive": False, "typesetMath": False}
    div = drawn.to_html(config, full_html=False, include_plotlyjs=False, div_id=name)
    label = escape(alt)
    return f'<figure role="group" aria-label="{label}">{div}<figcaption>{label}</figcaption></figure>'


def arrow(caption: str, rows: pa.Table, kind: str = "") -> str:
    """An Arrow table as `table` shows it."""
    return table(caption, rows.column_names, (list(row.values()) for row in rows.to_pylist()), kind=kind)


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    marked: Sequence[bool] = (),
    kind: str = "",
) -> str:
    """A table; whole numbers get their commas, None is empty, `marked` rows are bold."""
    head = "".join(tag("th", column) for column in columns)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(
            tag("td", f"{cell:,}", "number")
            if isinstance(cell, int)
            else tag("td", "" if cell is None else str(cell))
            for cell in row
        )
        bold = number < len(marked) and marked[number]
        lines.append(f"<tr class='knee'>{cells}</tr>" if bold else f"<tr>{cells}</tr>")
    return (
        f'<div class="wide {kind}"><table>{tag("caption", caption)}<thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def section(title: str, *parts: str) -> str:
    """A section with its heading; empty parts are left out."""
    return "\n".join([f"<section>{tag('h2', title)}", *filter(None, parts), "</section>"])


def tag(name: str, content: str, kind: str = "") -> str:
    """An element with escaped text."""
    start = f"{name} class='{kind}'" if kind else name
    return f"<{start}>{escape(content)}</{name}>"
