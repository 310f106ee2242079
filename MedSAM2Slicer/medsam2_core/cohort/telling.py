"""What the report and Slicer say of a case of a cohort: its state, volumes, doubt, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medsam2_core.cohort.acceptance import CaseFolder
from medsam2_core.cohort.cases import checked_case_name
from medsam2_core.cohort.results import Results
from medsam2_core.cohort.states import ACCEPTED, DONE, FAILED, OPEN
from medsam2_core.errors import PromptError
from medsam2_core.files.text import TextError, read_json

Told = dict[str, Any]

SUMMARY = "summary.json"
SUMMARY_FORMAT = "medsam2-cohort/1"
_NEEDED = {"row", "state"}
_BROKEN = "Its done.json is damaged or gone: run medsam2 batch again."


def tell(
    results: Results, name: str, row: int, noted: Mapping[str, Any] | None, failure: Mapping[str, Any] | None
) -> Told:
    """What is told of a case by its notes: that of its results, or that of its failure, or neither.

    The doubt of the case, and agreement with references, stay those of the model's own result where a person has
    corrected it: then its volume is "model_ml" of the agreement.
    """
    first = {"name": name, "row": row, "objects": [], "notices": [], "doubt": 1.0, "range": [0, 1]}
    if noted is not None:
        return {**first, **_done(results, name, noted)}
    if failure is None:
        return {**first, "state": OPEN, "doubt": 0.0}
    return {**first, "state": FAILED, "failed": failure["failed"]}


def tell_folder(results: Results) -> list[Told]:
    """What is told of the cases of a folder of results, without their table: as far as they are known there."""
    listed = _listed(results)
    names = dict.fromkeys([*listed, *results.names()])
    return [retell(results, listed.get(name, {"name": name, "row": 0, "state": OPEN})) for name in names]


def retell(results: Results, told: Mapping[str, Any]) -> Told:
    """What is told of a case now, of which that was `told` before."""
    noted, failure = results.notes(told["name"])
    if failure is not None and told["state"] == FAILED:
        noted = None  # of an older row: what ran last has failed
    if noted is None and failure is None and told["state"] in (DONE, ACCEPTED):
        failure = {"failed": _BROKEN}
    row = (noted or failure or {}).get("row", told["row"])
    try:
        return tell(results, told["name"], row, noted, failure)
    except (KeyError, TypeError):  # a note that lacks something
        return tell(results, told["name"], row, None, {"failed": _BROKEN})


def _done(results: Results, name: str, noted: Mapping[str, Any]) -> Told:
    shown = {key: noted[key] for key in ("doubt", "objects", "notices", "range", "thumbnail")}
    folder = CaseFolder(results.folder / name)
    accepted = folder.accepted or {}
    told = {
        "state": ACCEPTED if accepted else DONE,
        "seconds": sum(noted["seconds"].values()),
        "rate": noted["slices_per_second"],
        **shown,
        "draft": folder.has_draft,
        "notices": [*noted["notices"], *(f"Earlier work of a person is in {one}." for one in results.replaced(name))],
    }
    if accepted:
        told["accepted"] = accepted["accepted"]
    if "facts" in accepted:
        compared = {item["name"]: item for item in noted["objects"] if "agreement" in item}
        facts = accepted["facts"]
        corrected = [_of_model(item, compared) for item in facts["objects"]]
        told |= {"objects": corrected, "corrected": True, **{key: facts[key] for key in ("range", "thumbnail")}}
    return told


def _of_model(item: Mapping[str, Any], compared: Mapping[str, Mapping[str, Any]]) -> Told:
    """A corrected object with the agreement that the model's own had."""
    own = compared.get(item["name"])
    return {**item, **({} if own is None else {"agreement": {**own["agreement"], "model_ml": own["volume_ml"]}})}


def _listed(results: Results) -> dict[str, Told]:
    """The cases of the last report by their names; those that are not done are known by it alone."""
    try:
        content = read_json(results.folder / SUMMARY)
        if content["format"] != SUMMARY_FORMAT:
            return {}
        return {checked_case_name(one["name"]): one for one in content["cases"] if one.keys() >= _NEEDED}
    except (OSError, TextError, KeyError, TypeError, AttributeError, PromptError):
        return {}
