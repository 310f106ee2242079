"""Puts what the views and the panel show on pages with captions, for `make pictures`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from PIL import Image as Pillow
from PIL import PngImagePlugin

if TYPE_CHECKING:  # the Python that draws the panel has none of it
    from offscreen import Image, Letters

mpl.use("Agg")
SOURCE = "CT: LIDC-IDRI-0001 (The Cancer Imaging Archive), CC BY 3.0"
_NOTE = f"{SOURCE}. Model: starter. Not for clinical use."
_DPI = 100
_GAP, _BAR, _TITLE, _FOOT = 6, 8, 40, 28  # pixels: between panes, a view's color, above and below the panes
_GRAYS, _COLORS, _MOST_BYTES = 96, 160, 300_000  # of a PNG
_GRAY_SPREAD = 12  # of red, green and blue, that still looks gray
_BARS = {"red": "#f34a33", "green": "#6dad4a", "yellow": "#efd64d", "3D": "#7480d0"}
_NAMES = {
    "red": "axial",
    "green": "coronal",
    "yellow": "sagittal",
    "3D": "3D, on the lowest slice, seen from the left and front",
}
_PANEL_NOTE = "Drawn by Qt outside of Slicer, which has its own style, sliders and headings."
_MARGIN, _LINE = 12, 18  # pixels: beside the panel, and a line of small text
_STRIP, _STATE, _STATES = (1000, 110), (34, 56), 86  # pixels: the strip, one column for a state, and their row


class Pane(NamedTuple):
    """What one view shows; a 3D view has no letters. `name` is what to write on it, if not the view's own."""

    image: Image
    color: str
    letters: Letters | None
    name: str = ""


def panesPage(rows: Sequence[Sequence[Pane]], caption: str) -> Figure:
    """Put panes of one size side by side and below each other, pixel for pixel."""
    height, width = rows[0][0].image.shape[:2]
    down, across = height + _BAR + _GAP, width + _GAP
    page_width, page_height = across * len(rows[0]) - _GAP, down * len(rows) - _GAP + _TITLE + _FOOT
    figure = plt.figure(figsize=(page_width / _DPI, page_height / _DPI), dpi=_DPI, facecolor="white")
    _text(figure, 2, page_height - _TITLE / 2, caption, size=13, color="black", ha="left")
    _text(figure, 2, _FOOT / 2, _NOTE, size=8.5, color="0.35", ha="left")
    for row, panes in enumerate(rows):
        for column, pane in enumerate(panes):
            _putPane(figure, pane, column * across, page_height - _TITLE - row * down)
    return figure


def panelPage(panel: Any, caption: str, note: str = _NOTE) -> Figure:
    """Put the panel's widget on a page; `note` says what it shows."""
    image = _grabbed(panel)
    height, width = image.shape[:2]
    page_width, page_height = width + 2 * _MARGIN, height + _TITLE + 2 * _LINE + _GAP
    figure = plt.figure(figsize=(page_width / _DPI, page_height / _DPI), dpi=_DPI, facecolor=image[0, 0] / 255)
    _text(figure, _MARGIN, page_height - _TITLE / 2, caption, size=11, color="black", ha="left")
    figure.figimage(image, _MARGIN, 2 * _LINE + _GAP)
    for line, words in enumerate((note, _PANEL_NOTE)):
        _text(figure, _MARGIN, _LINE * (line + 0.5), words, size=7.5, color="0.35", ha="left")
    return figure


def screenPage(window: Any) -> Figure:
    """Put a whole window on a page of its own size."""
    import slicer

    window.show()
    for _ in range(3):
        slicer.app.processEvents()
    image = _grabbed(window)
    height, width = image.shape[:2]
    figure = plt.figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.figimage(image, 0, 0)
    _text(figure, width * 0.45, 10, f"{_NOTE} Slicer is sketched around the panel.", size=7, ha="left")
    return figure


def stripPage(controller: Any, current: int, caption: str) -> Figure:
    """Draw the strip with slice `current` in view, and below it a column for each state."""
    slices, doubtful = controller.review.slices(), controller.review.doubtful()
    width, page_height = _STRIP[0], _STRIP[1] + _TITLE + _STATES + _FOOT
    figure = plt.figure(figsize=(width / _DPI, page_height / _DPI), dpi=_DPI, facecolor="white")
    _text(figure, 2, page_height - _TITLE / 2, caption, size=13, color="black", ha="left")
    figure.figimage(_strip(_STRIP, slices, doubtful, controller.review.sliceCount(), current), 0, _STATES + _FOOT)
    states = _oneOfEach()
    for place, (name, one) in enumerate(states.items()):
        left, bottom = place * width / len(states), _FOOT + (_STATES - _STATE[1]) / 2
        figure.figimage(_strip(_STATE, {0: one}, [0] if name == "doubtful" else [], 1), round(left), bottom)
        _text(figure, left + _STATE[0] + 8, _FOOT + _STATES / 2, name, size=11, color="black", ha="left")
    _text(figure, 2, _FOOT / 2, _NOTE, size=8.5, color="0.35", ha="left")
    return figure


def writePage(figure: Figure, path: Path, source: str = SOURCE) -> None:
    """Write a page as PNG with its source in the metadata. Raises ValueError if the file is too large for a README."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=_DPI)
    plt.close(figure)
    facts = PngImagePlugin.PngInfo()
    facts.add_text("Source", source)
    facts.add_text("Software", "MedSAM2Slicer benchmarks/pictures.py, Slicer's displayable managers (slicer-core)")
    _reduced(Pillow.open(drawn).convert("RGB")).save(path, optimize=True, pnginfo=facts)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes: draw it smaller")
    print(f"Written: {path}, {path.stat().st_size // 1000} kB")


def _strip(
    size: tuple[int, int], slices: Mapping[int, Any], doubtful: Sequence[int], count: int, current: int | None = None
) -> Image:
    """The panel's own widget, of this many columns and rows."""
    from MedSAM2SlicerLib.ui.driftstrip import DriftStrip

    strip = DriftStrip()
    strip.setMinimumHeight(0)
    strip.resize(*size)
    strip.showSlices(slices, doubtful, count)
    strip.setCurrent(current)
    return _grabbed(strip)


def _oneOfEach() -> dict[str, Any]:
    """A slice in each state, by what the guide calls it."""
    from MedSAM2SlicerLib.scene.slicereview import ACCEPTED, EDITED, LOCKED, PROMPTED, PROPAGATED, SliceReview

    def one(origin: str = PROPAGATED, mark: str = "", stale: bool = False) -> SliceReview:
        return SliceReview(0, 0.8, origin, 1.0, "forward", mark=mark, stale=stale)

    states = [one(PROMPTED), one(EDITED), one(), one(mark=ACCEPTED), one(mark=LOCKED), one(stale=True)]
    return {**{state.state: state for state in states}, "doubtful": one()}


def _grabbed(widget: Any) -> Image:
    """What Qt draws of a widget."""
    picture = widget.grab().toImage()
    picture = picture.convertToFormat(type(picture).Format_RGB888)
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), picture.bytesPerLine())
    return rows[:, : 3 * picture.width()].reshape(picture.height(), picture.width(), 3).copy()


def _reduced(page: Pillow.Image) -> Pillow.Image:
    """Give a page a palette. Grays apart, since there are so many that a common one would lose the prompts' colors."""
    pixels = np.asarray(page).reshape(-1, 3)
    colored = np.unique(pixels[np.ptp(pixels, axis=1) > _GRAY_SPREAD], axis=0)[None]
    colors = Pillow.fromarray(colored).quantize(_COLORS, Pillow.Quantize.MAXCOVERAGE).getpalette() or []
    grays = np.linspace(0, 255, _GRAYS).round().astype(int).repeat(3).tolist()
    palette = Pillow.new("P", (1, 1))
    palette.putpalette(grays + colors[: 3 * _COLORS])
    return page.quantize(palette=palette, dither=Pillow.Dither.NONE)


def _putPane(figure: Figure, pane: Pane, left: int, top: float) -> None:
    """Put a pane under a bar of the view's color, its upper left corner there (pixels from below)."""
    height, width = pane.image.shape[:2]
    bar = np.empty((_BAR, width, 3))
    bar[:] = mpl.colors.to_rgb(_BARS[pane.color])
    figure.figimage(bar, left, top - _BAR)
    bottom = top - _BAR - height
    figure.figimage(pane.image, left, bottom)
    _text(figure, left + 10, bottom + 14, pane.name or _NAMES[pane.color], size=9, ha="left")
    if pane.letters is not None:
        middle, center = left + width / 2, bottom + height / 2
        _text(figure, left + 12, center, pane.letters.left)
        _text(figure, left + width - 12, center, pane.letters.right)
        _text(figure, middle, bottom + height - 14, pane.letters.top)
        _text(figure, middle, bottom + 38, pane.letters.bottom)


def _text(
    figure: Figure, x: float, y: float, text: str, *, size: float = 12, color: str = "white", ha: str = "center"
) -> None:
    """Write at pixels from the lower left corner."""
    width, height = figure.get_size_inches() * _DPI
    edge = [patheffects.withStroke(linewidth=2.5, foreground="black")] if color == "white" else []
    place = {"x": x / width, "y": y / height, "ha": ha, "va": "center"}
    figure.text(s=text, fontsize=size, color=color, path_effects=edge, **place)
