"""Figures: matplotlib draws them in a few named colours, and they are embedded in the HTML as SVG.

The style sheet sets the colours for light and dark mode. Words from the data are in the HTML around
a figure and never in the figure, because HTML wraps them and has the glyphs that matplotlib lacks.
"""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from gatewise.data.subsets import evenly_spaced
from gatewise.reporting.formats import Numbers

# matplotlib draws the light colours; the SVG refers to variables that the style sheet sets.
COLOURS = {
    "ink": "#1a1e24",
    "muted": "#6a7480",
    "line": "#e3e7eb",
    "accent": "#1463ad",
    "s1": "#c2650a",
    "s2": "#0b8068",
    "s3": "#a2487f",
    "s4": "#7d6b12",
    "s5": "#4d4f9e",
    "better": "#0a7a63",
    "worse": "#bf4a10",
    "even": "#6a6f79",
}
SERIES = ("accent", "s1", "s2", "s3", "s4", "s5", "muted", "ink")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2))) + ("-",) * 4
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "gatewise",
    "text.parse_math": False,
    "text.color": COLOURS["muted"],
    "font.size": 11,
    "axes.edgecolor": COLOURS["line"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.formatter.useoffset": False,
    "axes.formatter.limits": (-4, 6),
    "xtick.color": COLOURS["muted"],
    "ytick.color": COLOURS["muted"],
    "grid.color": COLOURS["line"],
    "grid.linewidth": 0.8,
    "lines.solid_capstyle": "round",
}
MOST_POINTS = 400  # in one line
MOST_LINES = 6  # in one small chart; more are drawn as an image
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


@contextmanager
def style() -> Iterator[None]:
    """Draw in our style inside the context, whatever the process has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def axes(width: float = 420, height: float = 220, grid: str = "y") -> tuple[Figure, Any]:
    """An empty figure with its size in points, which are the pixels on a narrow screen."""
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    axes = figure.subplots()
    dress(axes, grid)
    return figure, axes


def dress(axes: Any, grid: str = "y") -> None:
    """Remove the frame, the ticks and the background; show the grid along the axes `grid`."""
    axes.figure.patch.set_visible(False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.patch.set_visible(False)
    axes.tick_params(bottom=False, left=False, which="both", pad=5)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(visible=True, axis=grid)


def plain_powers(axis: Any) -> None:
    """Label the powers of ten of a logarithmic axis as plain numbers, and nothing between them."""
    # matplotlib's own labels are formulas, which are not parsed here.
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def line(
    axes: Any, x: Numbers, y: Numbers, colour: str, *, width: float = 1.6, dash: Any = "-"
) -> None:
    """Draw a line, thinned to the resolution of a screen; a single point gets a marker."""
    if not len(y):
        return
    x, y = _thin(x, y)
    marker = "o" if np.isfinite(y).sum() == 1 else ""
    axes.plot(
        x, y, color=COLOURS[colour], linewidth=width, linestyle=dash, marker=marker, markersize=4
    )


def _thin(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Keep the lowest and the highest point of each stretch, so that no peak is lost."""
    if len(y) <= MOST_POINTS:
        return x, y
    keep = {0, len(y) - 1}
    for part in np.array_split(np.arange(len(y)), MOST_POINTS // 2):
        known = part[np.isfinite(y[part])]
        keep.update([int(part[0])] if not known.size else [])
        keep.update(int(known[find(y[known])]) for find in (np.argmin, np.argmax) if known.size)
    places = np.array(sorted(keep))
    return x[places], y[places]


def spread(length: int) -> NDArray[np.int64]:
    """Evenly spaced positions over a length, at most as many as a line has points."""
    return evenly_spaced(length, MOST_POINTS)


def is_picture(values: Numbers) -> bool:
    """True if a sequence [steps, columns] has the shape of an image, with a row for each step."""
    steps, columns = values.shape
    return bool(steps == columns >= 8)


def ranges(drawn: Sequence[Numbers]) -> tuple[Numbers, Numbers] | None:
    """The minimum and maximum of each column, for sequences that are drawn in shades of grey.

    With a common scale, a column of large numbers would make all others a single shade of grey.
    """
    wide = [values for values in drawn if values.shape[1] > MOST_LINES and len(values)]
    if not wide or len({values.shape[1] for values in wide}) > 1 or all(map(is_picture, wide)):
        return None
    every = np.concatenate(wide)
    return np.fmin.reduce(every), np.fmax.reduce(every)


def image(axes: Any, values: Numbers, *, square: bool) -> None:
    """Draw a picture from top to bottom, or another wide sequence with time to the right."""
    shrunk = values[:: max(1, len(values) // 200)][:, :: max(1, values.shape[1] // 100)]
    pixels = np.ma.masked_invalid(shrunk if square else shrunk.T)
    aspect = "equal" if square else "auto"
    axes.imshow(
        pixels,
        cmap="Greys",
        aspect=aspect,
        interpolation="none",
        origin="upper" if square else "lower",
        vmin=None if square else 0.0,
        vmax=None if square else 1.0,
    )
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def svg(figure: Figure, label: str) -> Markup:
    """The figure as SVG for HTML, without a size or font of its own, and with unique ids.

    `label` describes it to those who cannot see it.
    """
    file = io.StringIO()
    # `savefig` draws a figure twice, the first time only to lay it out, which drawing does as well.
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    for parent in root.iter():
        drawn = [node for node in parent if node.tag not in {f"{_SVG}metadata", f"{_SVG}defs"}]
        definitions = [node for node in parent if node.tag == f"{_SVG}defs"]
        parent[:] = drawn + [node for node in definitions if node.find(f"{_SVG}style") is None]
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', text))
    prefix = f"f{sha256(text.encode()).hexdigest()[:8]}-"
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.text, element.tail = (
            text and text.strip() for text in (element.text, element.tail)
        )
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
        element.attrib = dict(_tidy(name, value, prefix) for name, value in element.attrib.items())
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _tidy(name: str, value: str, prefix: str) -> tuple[str, str]:
    """Rewrite one attribute: prefix ids, turn colours into variables, and shorten numbers."""
    name = name.replace(_LINK, "href")
    if name == "id":
        return name, prefix + value
    if name == "href":
        return name, value.replace("#", f"#{prefix}", 1) if value.startswith("#") else value
    if name == "style":
        value = re.sub(r"\s*font-family:[^;]*;", "", value)
        return name, re.sub("#[0-9a-f]{6}", _variable, value)
    if name in {"d", "x", "y"}:
        return name, " ".join(re.sub(r"\d+\.\d+", _short, value).split())
    return name, value.replace("url(#", f"url(#{prefix}")


def _variable(colour: re.Match[str]) -> str:
    names = {value: name for name, value in COLOURS.items()}
    return f"var(--{names[colour[0]]})" if colour[0] in names else colour[0]


def _short(number: re.Match[str]) -> str:
    value = float(number[0])
    return f"{round(value, 1 if value >= 10 else 2):g}"
