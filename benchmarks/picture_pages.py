"""Puts what the views show, and how sure the model was, on pages with captions, for `make pictures`."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import patheffects
from matplotlib.figure import Figure
from PIL import Image as Pillow
from PIL import PngImagePlugin

from offscreen import Image, Letters

mpl.use("Agg")
SOURCE = "CT: LIDC-IDRI-0001 (The Cancer Imaging Archive), CC BY 3.0"
_NOTE = f"{SOURCE}. Model: starter. Not for clinical use."
_DPI = 100
_GAP, _BAR, _TITLE, _FOOT = 6, 8, 40, 28  # pixels: between panes, a view's colour, above and below the panes
_GREYS, _COLORS, _MOST_BYTES = 96, 160, 400_000  # of a PNG
_GREY_SPREAD = 12  # of red, green and blue, that still looks grey
_BARS = {"red": "#f34a33", "green": "#6dad4a", "yellow": "#efd64d", "3D": "#7480d0"}
_NAMES = {
    "red": "axial",
    "green": "coronal",
    "yellow": "sagittal",
    "3D": "3D, on the lowest slice, seen from the left and front",
}
_ACCENT, _NEUTRAL, _DOUBT = "#0a64a4", "#9a9a9a", "#c84b00"


class Pane(NamedTuple):
    """What one view shows; a 3D view has no letters."""

    image: Image
    color: str
    letters: Letters | None


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


def confidencePage(slices: Mapping[int, Any], doubtful: Collection[int], count: int) -> Figure:
    """Draw one column a slice, as high as the model was sure of it (see MedSAM2SlicerLib.slicestates)."""
    figure, axes = plt.subplots(figsize=(11.26, 3.2), dpi=_DPI, layout="constrained")
    for index, one in slices.items():
        color = _ACCENT if one.state == "prompted" else _DOUBT if index in doubtful else _NEUTRAL
        axes.bar(index, one.confidence, width=0.86, color=color)
        if index in doubtful:
            axes.plot(index, -0.035, marker=2, color=_DOUBT, markersize=7, clip_on=False)
        if one.state == "prompted":
            axes.plot(index, one.confidence + 0.04, "o", color=_ACCENT, markersize=5)
    first, last = max(min(slices) - 2, 0), min(max(slices) + 2, count)
    axes.set(xlim=(first - 0.5, last - 0.5), ylim=(-0.07, 1), ylabel="predicted IoU")
    axes.set_xlabel(f"slice, of {count}", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes)
    drawn = sum(one.areaMm2 != 0 for one in slices.values())
    axes.set_title(
        f"How sure the model was: {len(doubtful)} of {drawn} slices are worth a look", loc="left", fontsize=13
    )
    figure.text(0.995, 0.01, _NOTE, ha="right", va="bottom", fontsize=8.5, color="0.35")
    return figure


def writePage(figure: Figure, path: Path) -> None:
    """Write a page as PNG with its source in the metadata. Raises ValueError if the file is too large for a README."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=_DPI)
    plt.close(figure)
    facts = PngImagePlugin.PngInfo()
    facts.add_text("Source", SOURCE)
    facts.add_text("Software", "MedSAM2Slicer benchmarks/pictures.py, Slicer's displayable managers (slicer-core)")
    _reduced(Pillow.open(drawn).convert("RGB")).save(path, optimize=True, pnginfo=facts)
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes: draw it smaller")
    print(f"Written: {path}, {path.stat().st_size // 1000} kB")


def _reduced(page: Pillow.Image) -> Pillow.Image:
    """Give a page a palette. Greys apart, since they are so many that a common one would lose the prompts' colours."""
    pixels = np.asarray(page).reshape(-1, 3)
    colored = np.unique(pixels[np.ptp(pixels, axis=1) > _GREY_SPREAD], axis=0)[None]
    colors = Pillow.fromarray(colored).quantize(_COLORS, Pillow.Quantize.MAXCOVERAGE).getpalette() or []
    greys = np.linspace(0, 255, _GREYS).round().astype(int).repeat(3).tolist()
    palette = Pillow.new("P", (1, 1))
    palette.putpalette(greys + colors[: 3 * _COLORS])
    return page.quantize(palette=palette, dither=Pillow.Dither.NONE)


def _putPane(figure: Figure, pane: Pane, left: int, top: float) -> None:
    """Put a pane under a bar of the view's colour, its upper left corner there (pixels from below)."""
    height, width = pane.image.shape[:2]
    bar = np.empty((_BAR, width, 3))
    bar[:] = mpl.colors.to_rgb(_BARS[pane.color])
    figure.figimage(bar, left, top - _BAR)
    bottom = top - _BAR - height
    figure.figimage(pane.image, left, bottom)
    _text(figure, left + 10, bottom + 14, _NAMES[pane.color], size=9, ha="left")
    if pane.letters is not None:
        middle, centre = left + width / 2, bottom + height / 2
        _text(figure, left + 12, centre, pane.letters.left)
        _text(figure, left + width - 12, centre, pane.letters.right)
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


def _legend(axes: Any) -> None:
    kinds = ((_ACCENT, "prompted"), (_NEUTRAL, "propagated"), (_DOUBT, "doubtful"))
    handles = [mpl.patches.Patch(color=color, label=label) for color, label in kinds]
    axes.legend(handles=handles, ncols=3, loc="upper right", frameon=False, fontsize=9)
