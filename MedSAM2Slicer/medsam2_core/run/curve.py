"""Volumes through time: a table, a drawing of the curve, and the share of a volume that is ejected."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from medsam2_core.files.text import column_of, harmless_cell
from medsam2_core.image.segments import Segment

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _EDGE = 640, 360, 60, 40, 16
_TICKS = 4
_COLUMNS = ("frame", "object", "volume_ml", "confidence")


def curve_csv(
    volumes_ml: Mapping[int, Mapping[int, float]],
    confidence: Mapping[int, Mapping[int, float]],
    segments: Sequence[Segment],
) -> str:
    """A line for each moment and object; both mappings are by moment, then by label."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for moment in sorted(volumes_ml):
        for segment in segments:
            values = volumes_ml[moment][segment.label], confidence[moment][segment.label]
            table.writerow((moment, harmless_cell(segment.name), f"{values[0]:.4f}", f"{values[1]:.3f}"))
    return text.getvalue()


def frames_of(path: Path) -> set[int]:
    """The frames that a table lists which `curve_csv` made; none if there is no such table."""
    return {int(frame) for frame in column_of(path, _COLUMNS, "frame") if frame.isdecimal()}


def ejection_fraction(full_ml: float, empty_ml: float) -> float:
    """The share of the volume at its fullest that is gone at its emptiest, in percent; 0 for an empty one."""
    return 100 * (full_ml - empty_ml) / full_ml if full_ml > 0 else 0.0


def curve_svg(volumes_ml: Mapping[int, Mapping[int, float]], segments: Sequence[Segment]) -> str:
    """The volumes over the moments as an SVG drawing, a line for each object."""
    moments = sorted(volumes_ml)
    highest = max((value for values in volumes_ml.values() for value in values.values()), default=0.0) or 1.0
    span = max(moments[-1] - moments[0], 1)

    def at(moment: float, volume: float) -> tuple[float, float]:
        x = _LEFT + (moment - moments[0]) / span * (_WIDTH - _LEFT - _EDGE)
        return x, _HEIGHT - _BOTTOM - volume / highest * (_HEIGHT - _BOTTOM - _EDGE)

    lines = [_line([at(moment, volumes_ml[moment][one.label]) for moment in moments], one) for one in segments]
    ticks = [_tick(at(moments[0], highest * part / _TICKS)[1], highest * part / _TICKS) for part in range(_TICKS + 1)]
    ends = [_text(at(moment, 0)[0], _HEIGHT - 20, f"{moment}", "middle") for moment in (moments[0], moments[-1])]
    names = [
        _text(_WIDTH - _EDGE, 20 + 16 * place, one.name, "end", one.hex_color) for place, one in enumerate(segments)
    ]
    title = _text(_LEFT, _HEIGHT - 4, "frame; volume in mL", "start")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n'
        + "\n".join([*ticks, *lines, *ends, *names, title])
        + "\n</svg>\n"
    )


def _line(points: Sequence[tuple[float, float]], segment: Segment) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{segment.hex_color}" stroke-width="2"/>'


def _tick(y: float, volume: float) -> str:
    rule = f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _EDGE}" stroke="#ddd"/>'
    return rule + _text(_LEFT - 6, y + 4, f"{volume:.3g}", "end")


def _text(x: float, y: float, text: str, anchor: str, color: str = "#222") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{html.escape(text)}</text>'
