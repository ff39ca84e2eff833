"""Plots as SVG, readable on light and dark pages."""
import math
from html import escape

WIDTH, LEFT, RIGHT, TOP, ROW, GAP, BOTTOM = 790, 240, 110, 62, 24, 14, 48
COLOURS = {  # on a light page, on a dark one
    "ferrolb": ("#0b63c5", "#6cb2ff"), "bird": ("#2b8a3e", "#69db7c"), "frr": ("#c2550a", "#ffa94d"), "gobgp": ("#8f3aa8", "#da91f0"),
}
STYLE = """\
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .small { font-size: 12px; fill: #59636e }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .page { fill: #ffffff }
"""
DARK = """\
  text { fill: #e6edf3 }
  .small { fill: #9198a1 }
  .grid { stroke: #3d444d }
  .page { fill: #0d1117 }
"""


def style():
    """The style sheet with its two palettes."""
    def palette(shade):
        return "".join(
            f"  .{name} {{ stroke: {colours[shade]}; fill: {colours[shade]} }}\n  .line.{name} {{ fill: none; stroke-width: 2 }}\n"
            for name, colours in COLOURS.items()
        )

    return f"<style>\n{STYLE}{palette(0)}  @media (prefers-color-scheme: dark) {{\n{DARK}{palette(1)}  }}\n</style>"


def page(title, note, height, body):
    """A whole picture; `note` stands below the title."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>", style(), f'<rect class="page" width="{WIDTH}" height="{height}"/>',
        text(16, 24, title, "title"), text(16, 43, note, "small"), *body, "</svg>\n",
    ])


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


class Log:
    """A logarithmic axis over whole decades from left to right."""

    def __init__(self, values):
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def x(self, value):
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return LEFT + max(share, 0) * (WIDTH - LEFT - RIGHT)

    def grid(self, top, bottom, unit):
        for power in range(self.low, self.high + 1):
            x = self.x(10.0 ** power)
            yield f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>'
            yield text(x, bottom + 18, f"{10.0 ** power:,.10g} {unit}", "small", "middle")


def number(value):
    """Three figures are enough."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def dots(title, note, unit, groups):
    """Groups of rows on a logarithmic axis: (group, [(label, colour, low, middle, high)]), a dot for the middle."""
    values = [value for _, rows in groups for row in rows for value in row[2:]]
    axis, y, body = Log(values), TOP, []
    for group, rows in groups:
        body.append(text(16, y + 16, group))
        for label, colour, low, middle, high in rows:
            line = y + 12
            body += [
                text(LEFT - 12, line + 4, label, "small", "end"),
                f'<line class="{colour}" stroke-width="2" x1="{axis.x(low):.1f}" y1="{line}" x2="{axis.x(high):.1f}" y2="{line}"/>',
                f'<circle class="{colour}" cx="{axis.x(middle):.1f}" cy="{line}" r="5"/>',
                text(WIDTH - RIGHT + 14, line + 4, f"{number(middle)} {unit}"),
            ]
            y += ROW
        y += GAP
    return page(title, note, y + BOTTOM - GAP, [*axis.grid(TOP - 6, y - GAP, unit), *body])


def curves(title, note, unit, series):
    """Shares of events (0 to 100 %) by their time on a logarithmic axis: (label, colour, times at each percent)."""
    axis, height = Log([value for _, _, times in series for value in times]), 240
    body = list(axis.grid(TOP, TOP + height, unit))
    for percent in (0, 25, 50, 75, 99):
        y = TOP + height * (1 - percent / 100)
        body += [f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>', text(LEFT - 12, y + 4, f"{percent} %", "small", "end")]
    for row, (label, colour, times) in enumerate(series):
        points = " ".join(f"{axis.x(value):.1f},{TOP + height * (1 - percent / 100):.1f}" for percent, value in zip(range(101), times))
        y = TOP + 16 + row * ROW
        body += [f'<polyline class="line {colour}" points="{points}"/>', f'<circle class="{colour}" cx="22" cy="{y - 4}" r="5"/>', text(36, y, label)]
    return page(title, note, TOP + height + BOTTOM, body)
