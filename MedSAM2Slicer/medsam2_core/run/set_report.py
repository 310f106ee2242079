"""The report on a set of images: a table, and a page that shows every image with its outlines, the doubtful first."""

from __future__ import annotations

import base64
import csv
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Array
from medsam2_core.counting import counted
from medsam2_core.files.text import column_of, harmless_cell
from medsam2_core.image.outline import resized, svg_path
from medsam2_core.image.segments import Segment
from medsam2_core.io.itk import jpeg_bytes

THUMBNAIL = 256
"""Longer side of the pictures on the page, in pixels."""

_COLUMNS = (
    "image",
    "frame",
    "result",
    "object",
    "present",
    "confidence",
    "area_px",
    "area_mm2",
    "prompted",
    "doubt_rank",
)
_STYLE = """
body{font:15px/1.4 system-ui,sans-serif;margin:1.5em;background:#fff;color:#222}
main{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0;width:256px}
figure div{position:relative;background:#000;line-height:0}img,svg{width:100%;height:auto}
svg{position:absolute;inset:0}path{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
figcaption{overflow-wrap:anywhere}.key{display:inline-block;width:.8em;height:.8em;margin-right:.3em}
.mark{background:#eee;border-radius:.3em;padding:0 .3em}small{color:#666}
"""


@dataclass(frozen=True)
class SetRow:
    """What is known of one object in one image; `area_mm2` is None where pixels have no size in mm."""

    confidence: float
    area_px: int
    area_mm2: float | None
    prompted: bool


@dataclass(frozen=True)
class SetEntry:
    """An image that is answered: its file, frame and the name of its result, a row for each label, and its picture."""

    image: str
    frame: int
    result: str
    rows: Mapping[int, SetRow]
    card: str

    @property
    def doubt(self) -> float:
        """1 less the lowest confidence."""
        return 1 - min(row.confidence for row in self.rows.values())


def most_doubtful(entries: Sequence[SetEntry]) -> list[SetEntry]:
    """The entries, the most doubtful first."""
    return sorted(entries, key=lambda one: (-one.doubt, one.result))


def results_csv(entries: Sequence[SetEntry], segments: Sequence[Segment]) -> str:
    """A line for each image and object, in the order of the images; rank 1 is the image that is most in doubt."""
    ranks = {one.result: rank for rank, one in enumerate(most_doubtful(entries), 1)}
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for entry in entries:
        for segment in segments:
            if segment.label in entry.rows:
                row = entry.rows[segment.label]
                table.writerow(
                    [
                        harmless_cell(entry.image),
                        entry.frame,
                        harmless_cell(entry.result),
                        harmless_cell(segment.name),
                        int(row.area_px > 0),
                        f"{row.confidence:.3f}",
                        row.area_px,
                        "" if row.area_mm2 is None else f"{row.area_mm2:.2f}",
                        int(row.prompted),
                        ranks[entry.result],
                    ]
                )
    return text.getvalue()


def results_of(path: Path) -> set[str]:
    """The names of the results that a table lists which `results_csv` made; none if there is no such table."""
    return {name for name in column_of(path, _COLUMNS, "result") if Path(name).name == name}


def picture(pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.integer[Any]], segments: Sequence[Segment]) -> str:
    """An image at the page's size, (rows, columns) or with RGB, and the outlines of its labels, as HTML."""
    rows, columns = pixels.shape[:2]
    data = base64.b64encode(jpeg_bytes(pixels)).decode("ascii")
    lines = "".join(
        f'<path stroke="{segment.hex_color}" d="{path}"/>'
        for segment in segments
        if (path := svg_path(resized(labels == segment.label, (rows, columns))))
    )
    return (
        f'<div><img alt="" width="{columns}" height="{rows}" src="data:image/jpeg;base64,{data}">'
        f'<svg viewBox="0 0 {columns} {rows}">{lines}</svg></div>'
    )


def contact_sheet(
    entries: Sequence[SetEntry], segments: Sequence[Segment], skipped: Sequence[str], about: str, what: str = "image"
) -> str:
    """The page, which needs no other file. `about` says in a sentence what the results were made with."""
    names = {segment.label: segment for segment in segments}
    keys = " ".join(f"{_key(segment)}{html.escape(segment.name)}" for segment in segments)
    figures = "\n".join(_figure(one, names) for one in most_doubtful(entries))
    broken = "".join(f"<li>{html.escape(text)}</li>" for text in skipped)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>MedSAM-2: {what}s</title><style>{_STYLE}</style>
<h1>{counted(len(entries), what)}, the most doubtful first</h1>
<p>{keys}</p><p><small>{html.escape(about)} Not for clinical use.</small></p>
{f"<p>Skipped:</p><ul>{broken}</ul>" if skipped else ""}
<main>
{figures}
</main></html>
"""


def small(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An image (rows, columns) or (rows, columns, 3) at the page's size or smaller; pixels are averaged in blocks."""
    step = max(1, -(-max(pixels.shape[:2]) // THUMBNAIL))
    rows, columns = (max(size // step, 1) for size in pixels.shape[:2])
    if step == 1:
        return pixels
    if min(pixels.shape[:2]) < step:
        return np.ascontiguousarray(pixels[::step, ::step])
    cut: Array = pixels[: rows * step, : columns * step]
    blocks = cut.reshape(rows, step, columns, step, *pixels.shape[2:])
    means: npt.NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return means


def _figure(entry: SetEntry, names: Mapping[int, Segment]) -> str:
    name = entry.image if entry.frame == 0 else f"{entry.image}@{entry.frame}"
    lines = "<br>".join(_line(names[label], row) for label, row in sorted(entry.rows.items()))
    caption = f"<figcaption>{html.escape(entry.result)}<br>{lines}</figcaption>"
    return f'<figure title="{html.escape(name)}">{entry.card}{caption}</figure>'


def _line(segment: Segment, row: SetRow) -> str:
    area = "absent" if not row.area_px else f"{row.area_px} px"
    if row.area_mm2 is not None and row.area_px:
        area = f"{row.area_mm2:.4g} mm²"
    mark = ' <span class="mark">prompt</span>' if row.prompted else ""
    return f"{_key(segment)}{area}, confidence {row.confidence:.2f}{mark}"


def _key(segment: Segment) -> str:
    return f'<span class="key" style="background:{segment.hex_color}"></span>'
