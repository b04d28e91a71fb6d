"""Small SVG pictures as text: they need no fonts, no browser and no library, and are the same on every machine.

Each picture has a ground of its own, so it is readable on any page. It is light by default, and dark where the
reader's system asks for dark.
"""

from __future__ import annotations

import re
from html import escape

from dispatch_state.cli.board_colours import STATUS_COLOURS

COLOURS = {
    "ground": ("#f6f7f9", "#12161d"),
    "card": ("#ffffff", "#1c222c"),
    "line": ("#d5dae2", "#364050"),
    "ink": ("#1c2330", "#e6e9ee"),
    "faint": ("#5b6575", "#9aa5b4"),
    "grey": ("#8a94a3", "#6b7686"),
    "blue": ("#1570cd", "#58b4ff"),
    "violet": ("#6172f3", "#98a8ff"),
    "teal": ("#0b7f74", "#2ed3b7"),
    "amber": ("#b35900", "#ffb057"),
    "green": ("#0a8048", "#3ccb7f"),
    "red": ("#c0262d", "#ff7a7f"),
}
for _status, _colour in STATUS_COLOURS.items():
    COLOURS[str(_status).replace("_", "-")] = (_colour.light, _colour.dark)
"""Each colour on a light and on a dark ground; those of statuses are the board's. The class `red` fills with it,
`red-line` draws lines in it."""
STATUS = {str(status): str(status).replace("_", "-") for status in STATUS_COLOURS}
"""The name above of each status's colour."""
FONT = "-apple-system,'Segoe UI',Roboto,'Noto Sans',Helvetica,Arial,sans-serif"


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """A whole picture.

    Args:
        width, height: its size.
        title: what it shows, for people who cannot see it.
        parts: what is on it, each on a line.
    """
    body = "\n".join([box(0.5, 0.5, width - 1, height - 1, "ground line-line", 8), *parts])
    used = [name for name in COLOURS if re.search(rf'[" ]{name}(-line)?[" ]', body)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n<style>\n'
        f"text{{font:12px {FONT}}}.b{{font-weight:600}}.s{{font-size:11px}}.h{{font-size:17px}}\n"
        f"{_rules(used, 0)}\n@media (prefers-color-scheme:dark){{\n{_rules(used, 1)}\n}}\n</style>\n{body}\n</svg>\n"
    )


def _rules(names: list[str], ground: int) -> str:
    return "".join(f".{n}{{fill:{COLOURS[n][ground]}}}.{n}-line{{stroke:{COLOURS[n][ground]}}}" for n in names)


def box(x: float, y: float, width: float, height: float, look: str, round_: float = 0) -> str:
    """A rectangle; `look` names its classes."""
    corners = f' rx="{_n(round_)}"' if round_ else ""
    return f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{corners} class="{look}"/>'


def text(x: float, y: float, words: object, look: str = "ink", anchor: str = "start") -> str:
    """A line of text; `anchor` says which end of it, or its middle, is at `x`."""
    at = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{_n(x)}" y="{_n(y)}"{at} class="{look}">{escape(str(words), quote=False)}</text>'


def arrow(points: list[tuple[float, float]], look: str = "faint") -> str:
    """A line through the points, its corners rounded, with an arrowhead at the last one."""
    (x, y), (tip_x, tip_y) = points[-2], points[-1]
    length = ((tip_x - x) ** 2 + (tip_y - y) ** 2) ** 0.5
    dx, dy = (tip_x - x) / length, (tip_y - y) / length
    end_x, end_y = tip_x - 7 * dx, tip_y - 7 * dy
    path = _rounded([*points[:-1], (end_x, end_y)])
    head = [(tip_x, tip_y), (end_x - 4 * dy, end_y + 4 * dx), (end_x + 4 * dy, end_y - 4 * dx)]
    return (
        f'<path d="{path}" fill="none" stroke-width="1.3" class="{look}-line"/>'
        f'<path d="M{"L".join(f"{_n(a)} {_n(b)}" for a, b in head)}Z" class="{look}"/>'
    )


def _rounded(points: list[tuple[float, float]], radius: float = 8) -> str:
    path = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for before, (x, y), after in zip(points, points[1:], points[2:], strict=False):
        near, far = (_toward((x, y), other, radius) for other in (before, after))
        path += f"L{_n(near[0])} {_n(near[1])}Q{_n(x)} {_n(y)} {_n(far[0])} {_n(far[1])}"
    return path + f"L{_n(points[-1][0])} {_n(points[-1][1])}"


def _toward(corner: tuple[float, float], other: tuple[float, float], radius: float) -> tuple[float, float]:
    (x, y), (far_x, far_y) = corner, other
    length = ((far_x - x) ** 2 + (far_y - y) ** 2) ** 0.5
    part = min(radius / length, 0.5)
    return x + part * (far_x - x), y + part * (far_y - y)


def _n(value: float) -> str:
    return f"{round(value, 1):g}"
