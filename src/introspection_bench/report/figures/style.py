"""What all figures share: colours, markers, type, and how a figure is written to a file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs
import matplotlib as mpl

from ...boundaries import checked, guarded
from ...errors import AnalysisError, explain
from ...files import replacing
from ...untrusted import escape, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")


@attrs.frozen
class Stroke:
    """How one outcome is drawn, everywhere: marker and line style carry the meaning without colour."""

    marker: str
    line: Any


@guarded(AnalysisError)
@attrs.frozen
class Theme:
    """The colours of one rendering.

    ``outcomes`` are from Okabe & Ito 2008 (*Color Universal Design*); ``ramp`` goes from 0 to 100 % in even
    steps of lightness, so that it survives greyscale. ``further`` go with :data:`FURTHER_MARKERS`.
    """

    name: str
    paper: str
    ink: str
    muted: str
    rule: str
    outcomes: Mapping[str, str]
    ramp: tuple[str, ...]
    further: tuple[str, ...]


STROKES: Mapping[str, Stroke] = MappingProxyType(
    {
        "identifies": Stroke("o", "-"),
        "coherent": Stroke("s", (0, (5, 2))),
        "affirmative": Stroke("^", (0, (5, 1.5, 1, 1.5))),
        "immediate": Stroke("D", (0, (1, 1.5))),
        "strict": Stroke("X", (0, (7, 2, 2, 2))),
        "refused": Stroke("v", (0, (3, 1, 1, 1, 1, 1))),
        "unscored": Stroke("P", (0, (2, 3))),
    }
)
_FURTHER_LINE = (0, (6, 1.5))

#: Markers of arms other than injections and controls, and of criteria of other rubrics, each in their order and from
#: the start again where there are more.
FURTHER_MARKERS = ("p", "<", "h", ">", "*", "d")

LIGHT = Theme(
    "light",
    "#ffffff",
    "#1d2126",
    "#59616b",
    "#d9d8d3",
    MappingProxyType(
        {
            "identifies": "#0072B2",
            "coherent": "#D55E00",
            "affirmative": "#009E73",
            "immediate": "#CC79A7",
            "strict": "#000000",
            "refused": "#E69F00",
            "unscored": "#59616b",
        }
    ),
    ("#f1f4f7", "#86b7dc", "#0b3f73"),
    ("#7A4B00", "#8A0F4E", "#4B2A8C", "#00606B", "#5B6B00", "#8C2D19"),
)
#: On a dark page: the palette's lighter blue and yellow for its darkest two colours.
DARK = Theme(
    "dark",
    "#1a1e23",
    "#e4e6e8",
    "#a3abb5",
    "#333a42",
    MappingProxyType(
        {
            "identifies": "#56B4E9",
            "coherent": "#E69F00",
            "affirmative": "#2FBF97",
            "immediate": "#CC79A7",
            "strict": "#F0E442",
            "refused": "#D55E00",
            "unscored": "#a3abb5",
        }
    ),
    ("#252b32", "#1f6698", "#a5dbff"),
    ("#D9A860", "#F59CC8", "#B9A2F2", "#7CD3DE", "#C6D66B", "#F2A38F"),
)


_STENCILLED = ("paper", "ink", "muted", "rule")
_PLACE = re.compile(r"#fe00([0-9a-f]{2})")


def _palette(theme: Theme) -> list[str]:
    """Return a theme's colours but for its ramp, in an order of their own."""
    colours = (*(getattr(theme, name) for name in _STENCILLED), *theme.outcomes.values(), *theme.further)
    return [colour.lower() for colour in colours]  # as matplotlib writes them


def _stencil() -> Theme:
    """Return a theme whose colours only say their places in the palette."""
    places = iter(f"#fe00{place:02x}" for place in range(len(_palette(LIGHT))))
    paper, ink, muted, rule = (next(places) for _ in _STENCILLED)
    outcomes = {name: next(places) for name in LIGHT.outcomes}
    return Theme("stencil", paper, ink, muted, rule, outcomes, LIGHT.ramp, tuple(places))


def looks(outcomes: Sequence[str], theme: Theme) -> dict[str, tuple[Stroke, str]]:
    """Return each outcome's stroke and colour; those of criteria that aren't built in go by their order."""
    own = (o for o in dict.fromkeys(outcomes) if o not in STROKES)
    further = dict(zip(own, itertools.cycle(zip(FURTHER_MARKERS, theme.further, strict=True)), strict=False))
    found = {o: (Stroke(marker, _FURTHER_LINE), colour) for o, (marker, colour) in further.items()}
    return {o: found[o] if o in found else (STROKES[o], theme.outcomes[o]) for o in outcomes}


@contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Set matplotlib's parameters for making or writing one of our figures, and put back the caller's after."""
    with mpl.rc_context(
        {
            "font.family": ["sans-serif"],
            "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the same letters on every machine
            "font.size": 9,
            "mathtext.fontset": "dejavusans",
            "text.parse_math": False,  # a name with two dollars is a name, and with one no error
            "axes.titlesize": 9.5,
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.labelcolor": theme.ink,
            "axes.edgecolor": theme.muted,
            "axes.facecolor": theme.paper,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.unicode_minus": True,
            "xtick.color": theme.muted,
            "ytick.color": theme.muted,
            "xtick.labelcolor": theme.ink,
            "ytick.labelcolor": theme.ink,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "text.color": theme.ink,
            "grid.color": theme.rule,
            "grid.linewidth": 0.7,
            "legend.frameon": False,
            "legend.fontsize": 8.5,
            "figure.facecolor": theme.paper,
            "savefig.facecolor": theme.paper,
            "savefig.bbox": None,
            "savefig.dpi": 200,
            "svg.fonttype": "path",
            "svg.hashsalt": "introspection_bench",  # element ids would be random without it
            "pdf.fonttype": 42,
            "path.simplify": False,
        }
    ):
        yield


def lettering(text: str, most: int = 60) -> str:
    """Return other people's text as a figure can show it: one line of at most so many characters.

    What can't be seen, and what the figures' font has no glyph for, stands as an escape.
    """
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans"))
    line = one_line(text, most)
    return "".join(c if font.get_char_index(ord(c)) else escape(c) for c in line)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches), with no link to pyplot or to any window. Call within :func:`drawing`.

    A notebook shows it as it is: no magic, and no pyplot.
    """
    figure: Figure = _figure_class()(figsize=(width, height), layout="constrained")
    return figure


@cache  # once: matplotlib.figure is only imported where something is drawn
def _figure_class() -> Any:
    from io import BytesIO

    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """A figure that says its own picture where IPython asks; matplotlib's says it under ``%matplotlib`` alone."""

        def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
            buffer = BytesIO()
            _write(self, buffer, "png")
            # Its size on the page, of which the picture has about twice the dots.
            width, height = (round(96 * inches) for inches in self.get_size_inches())
            return buffer.getvalue(), {"width": width, "height": height}

    return NotebookFigure


def rate_axis(axes: Axes, label: str = "rate (% of scored trials)", *, headroom: float = 0.03) -> None:
    """Make the vertical axis one of rates, 0 to 100 % and some room above, with light horizontal rules."""
    from matplotlib.ticker import PercentFormatter

    axes.set_ylim(-0.03, 1 + headroom)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_ylabel(label)
    axes.grid(visible=True, axis="y")
    axes.set_axisbelow(True)


@checked(AnalysisError)
def save_figure(figure: Figure, stem: str | Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure as ``<stem>.png``, ``.svg`` and ``.pdf``; the same figure gives the same bytes each time.

    Args:
        figure: one of ours, or any other.
        stem: the path without ending; its folder is made where it is missing.
        formats: which of :data:`FORMATS`. PNG has 200 dots per inch; in SVG text stays text, in DejaVu Sans.

    Returns:
        The paths written, in the order of ``formats``.

    Raises:
        AnalysisError: an unknown format.
        OutputError: a file can't be written.
    """
    if not hasattr(figure, "savefig"):
        raise AnalysisError(explain("figure", required="a figure of matplotlib", got=type(figure).__name__, hint=""))
    unknown = [f for f in formats if f not in FORMATS]
    if unknown or isinstance(formats, str):
        raise AnalysisError(explain("formats", required=f"some of {list(FORMATS)}", got=formats, hint=""))
    stem = Path(stem)
    paths = []
    for kind in formats:
        path = stem.parent / f"{stem.name}.{kind}"
        with replacing(path) as new:
            _write(figure, new, kind, letters="none")
        paths.append(path)
    return paths


def _write(figure: Figure, target: Any, kind: str, *, letters: str = "path") -> None:
    # Dates and the library's version are left out: they would make every file differ.
    metadata = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": "introspection_bench"},
        "pdf": {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": "introspection_bench"},
    }[kind]
    with drawing(LIGHT), mpl.rc_context({"svg.fonttype": letters}):
        figure.savefig(target, format=kind, metadata=metadata, facecolor=figure.get_facecolor())


def svgs(draw: Callable[..., Figure], themes: Sequence[Theme], *, ramped: bool = False) -> list[bytes]:
    """Return a figure, given as a function of ``theme``, as one SVG document for each theme.

    It is drawn once and coloured afterwards, in half the time; not where cells have a colour of the ramp (``ramped``),
    on which their numbers are black or white.
    """
    if ramped:
        return [svg_bytes(draw(theme=theme)) for theme in themes]
    drawn = svg_bytes(draw(theme=_stencil())).decode()
    return [_painted(drawn, _palette(theme)) for theme in themes]


def _painted(drawn: str, palette: Sequence[str]) -> bytes:
    return _PLACE.sub(lambda place: palette[int(place[1], 16)], drawn).encode()


def svg_bytes(figure: Figure) -> bytes:
    """Return a figure as an SVG document, the same bytes each time."""
    from io import BytesIO

    buffer = BytesIO()
    _write(figure, buffer, "svg")
    return buffer.getvalue()
