"""The report of a cohort: a page that shows what to check first, and the same as tables for programs."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.facts import TOLERANCE_MM, compared_ml
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.states import ACCEPTED, DONE, FAILED
from medsam2_core.cohort.statistics import object_statistics
from medsam2_core.cohort.telling import SUMMARY, SUMMARY_FORMAT, Told, tell
from medsam2_core.counting import counted
from medsam2_core.files.draft import write_file
from medsam2_core.files.text import harmless_cell

_COLUMNS = (
    *("case", "row", "state", "accepted", "object", "doubt", "volume_ml", "outlier", "slices"),
    *("lowest_confidence", "lowest_slice"),
    *("stops", "dice", "surface_dice", "reference_ml", "difference_ml", "seconds", "slices_per_second", "failed"),
)


def write_report(results: Results, cases: Sequence[Case]) -> tuple[int, int]:
    """Write index.html, summary.csv and summary.json; how many cases are done, and how many failed.

    Raises VolumeError.
    """
    told = [tell(results, case.name, case.row, results.done(case), results.failure(case)) for case in cases]
    write_told(results.folder, told)
    finished = sum(one["state"] in (DONE, ACCEPTED) for one in told)
    return finished, sum(one["state"] == FAILED for one in told)


def write_told(folder: Path, told: Sequence[Told]) -> None:
    """Write the report of what is `told` of the cases. Raises VolumeError."""
    objects = object_statistics(told)
    page = _page(folder.resolve().name, told, objects, _counts(told))
    write_file(folder / "index.html", page.encode("utf-8", "replace"))
    write_file(folder / "summary.csv", _csv(told).encode("utf-8-sig", "replace"))
    write_file(folder / SUMMARY, _json(told, objects))


def _counts(told: Sequence[Told]) -> str:
    seconds = sum(one.get("seconds", 0.0) for one in told)
    accepted, done, failed = (sum(one["state"] == state for one in told) for state in (ACCEPTED, DONE, FAILED))
    done += accepted
    parts = [f"{done} of {counted(len(told), 'case')} done"]
    parts += [f"{accepted} accepted"] if accepted else []
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{seconds / 60:.1f} minutes of work, {seconds / done:.1f} s a case"] if done else []
    return "; ".join(parts)


def _page(title: str, told: Sequence[Told], objects: Mapping[str, Any], counts: str) -> str:
    folder = resources.files(__package__) / "page"
    template, style, script = (
        (folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    data = {"counts": counts, "tolerance_mm": TOLERANCE_MM, "objects": objects, "cases": told}
    filled = {
        "title": html.escape(title),
        "style-hash": _hash(style),
        "script-hash": _hash(script),
        "style": style,
        "script": script,
        # Within a script element nothing but "<" can end it or begin a comment.
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    first, *parts = template.split("@")
    texts = [filled[part] if place % 2 == 0 else part for place, part in enumerate(parts)]
    return "".join([first, *texts])


def _hash(text: str) -> str:
    """What a content security policy knows a style or script by."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _csv(told: Iterable[Told]) -> str:
    written = io.StringIO()
    table = csv.DictWriter(written, _COLUMNS, extrasaction="ignore")
    table.writeheader()
    for one in told:
        for line in _lines(one):
            table.writerow({key: harmless_cell(value) for key, value in line.items()})
    return written.getvalue()


def _lines(one: Told) -> list[Told]:
    """The rows of a case: one for each object, or one without."""
    own = {
        "case": one["name"],
        "row": one["row"],
        "state": one["state"],
        "accepted": one.get("accepted"),
        "seconds": one.get("seconds"),
        "slices_per_second": one.get("rate"),
        "failed": one.get("failed"),
    }
    return [{**own, **_object_cells(item)} for item in one["objects"]] or [own]


def _object_cells(item: Told) -> Told:
    lowest, agreed = item["lowest"] or (None, None), item.get("agreement", {})
    difference = compared_ml(item) - agreed["reference_ml"] if agreed else None
    return {
        "object": item["name"],
        "doubt": item["doubt"],
        "volume_ml": item["volume_ml"],
        "outlier": "yes" if item["outlier"] else "no",
        "slices": item["slices"],
        "lowest_confidence": lowest[0],
        "lowest_slice": lowest[1],
        "stops": "; ".join(f"{direction} {reason}" for direction, reason in item["stops"].items()),
        **agreed,
        "difference_ml": difference,
    }


def _json(told: Sequence[Told], objects: Mapping[str, Any]) -> bytes:
    cases = [{key: value for key, value in one.items() if key != "thumbnail"} for one in told]
    content = {"format": SUMMARY_FORMAT, "objects": objects, "cases": cases}
    return json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False).encode()
