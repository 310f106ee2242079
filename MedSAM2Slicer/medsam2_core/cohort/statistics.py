"""What the cases of a cohort have in common: the volumes of an object, which are unusual, and agreement over all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from medsam2_core.cohort.facts import compared_ml

_FEWEST = 8  # cases of which one can be called unusual
_FENCE = 1.5  # interquartile ranges beyond the quartiles (Tukey)


def object_statistics(told: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """By the names of objects: a point for each case with it, and agreement with references where there are some.

    `told` are cases as `report` has them, by their place; each of their objects gets "outlier".
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    for place, case in enumerate(told):
        for item in case["objects"]:
            by_name.setdefault(item["name"], []).append({"place": place, "case": case["name"], "item": item})
    return {name: _of_object(found) for name, found in by_name.items()}


def _of_object(found: list[dict[str, Any]]) -> dict[str, Any]:
    for one, is_outlier in zip(found, outliers([one["item"]["volume_ml"] for one in found]), strict=True):
        one["item"]["outlier"] = is_outlier
    points = [_point(one, value=one["item"]["volume_ml"], text=f"{one['item']['volume_ml']:.4g} mL") for one in found]
    compared = [one for one in found if "agreement" in one["item"]]
    return {"points": points, **({"agreement": _agreement(compared)} if compared else {})}


def outliers(volumes: list[float]) -> list[bool]:
    """Which volumes are far from the others, on a logarithmic scale; empty ones are, where most are not."""
    drawn = [value for value in volumes if value > 0]
    if len(drawn) < _FEWEST:
        return [False] * len(volumes)
    low, high = np.percentile(np.log(drawn), (25, 75)).tolist()
    reach = _FENCE * (high - low)
    return [value <= 0 or not low - reach <= float(np.log(value)) <= high + reach for value in volumes]


def _agreement(compared: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over cases, and the points of Bland and Altman's plot (Lancet 1986): difference over mean, mL."""
    points = []
    for one in compared:
        volume, reference = compared_ml(one["item"]), one["item"]["agreement"]["reference_ml"]
        points.append(_point(one, mean=(volume + reference) / 2, difference=volume - reference))
    differences = np.array([point["difference"] for point in points])
    return {
        **{key: _mean(compared, key) for key in ("dice", "surface_dice")},
        "mean": float(differences.mean()),
        "sd": float(differences.std(ddof=1)) if len(differences) > 1 else 0.0,
        "points": points,
    }


def _mean(compared: list[dict[str, Any]], key: str) -> float:
    return float(np.mean([one["item"]["agreement"][key] for one in compared]))


def _point(one: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"place": one["place"], "name": one["case"], "outlier": one["item"]["outlier"], **values}
