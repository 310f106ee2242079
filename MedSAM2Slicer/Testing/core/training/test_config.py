"""Configurations of a training: read, or refused in one sentence that names the entry."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import medsam2_core as m2
from medsam2_core.training.config import Phase, load_config

PHASE = {"steps": 3, "length": 1, "clips": 2}
GOOD = {"model": "starter", "data": {"a": 1.0}, "phases": [PHASE]}
STARTERS = sorted((Path(__file__).parents[3] / "Resources" / "Models").glob("starter.training-*.json"))


def written(path: Path, values: Any) -> Path:
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


def test_settings_are_read_from_json(tmp_path: Path) -> None:
    found = load_config(written(tmp_path / "c.json", GOOD | {"learning_rate": 1e-3}))
    assert found.phases == (Phase(3, 1, 2),)
    assert found.learning_rate == 1e-3


@pytest.mark.parametrize(
    "values",
    [
        "not json", "[]", "3", {}, GOOD | {"phases": 3}, GOOD | {"phases": [{"steps": 3}]}, GOOD | {"speed": 9},
        {"phases": []}, GOOD | {"phases": [3]}, GOOD | {"phases": []},
    ],
    ids=repr,
)  # fmt: skip
def test_settings_that_cannot_be_used_name_the_entries(tmp_path: Path, values: Any) -> None:
    with pytest.raises(m2.WeightsError, match="its entries are model, data, phases"):
        load_config(written(tmp_path / "c.json", values))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"prompts": {"boxx": 1.0}}, "prompts names 'boxx': use box, click, mask"),
        ({"memories": {"recent": 1.0}}, "memories names 'recent': use self-sorting, recency, pooled"),
        ({"corrections": {"none": 0.5, "clicks": 0.5}}, "corrections names 'clicks': use none, mask, click"),
    ],
)
def test_shares_of_what_is_not_known_are_refused(tmp_path: Path, entry: dict[str, Any], says: str) -> None:
    path = written(tmp_path / "c.json", GOOD | entry)
    with pytest.raises(m2.WeightsError, match=f"^{path}: {says}.$"):
        load_config(path)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([], "it is [], which is not an object in braces"),
        ({}, "model is missing"),
        (GOOD | {"foo": 1}, "foo is not known"),
        (GOOD | {"phases": [{"steps": 3, "clips": 1}]}, "phases[0].length is missing"),
        (GOOD | {"phases": [PHASE, PHASE | {"width": 1}]}, "phases[1].width is not known"),
    ],
    ids=repr,
)
def test_what_is_no_configuration_is_told_in_words_of_it(tmp_path: Path, values: Any, says: str) -> None:
    path = written(tmp_path / "c.json", values)
    with pytest.raises(m2.WeightsError) as refused:
        load_config(path)
    assert str(refused.value).startswith(f"{path} is not a training configuration ({says}): its entries are model, ")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("model", 3), ("image_size", 100), ("image_size", 0), ("start_from", 1), ("learning_rate", 0),
        ("learning_rate", -1e-4), ("learning_rate", "1e-4"), ("learning_rate", math.nan), ("learning_rate", True),
        ("weight_decay", -1), ("warmup_steps", 1.5), ("ema", 1.1), ("ema", -0.1), ("seed", -1), ("seed", 1.5),
        ("loader_workers", -1), ("save_every", 0), ("accumulate", 0), ("compile_encoder", 1), ("bfloat16", "no"),
        ("sets", 2), ("teacher_share", -1), ("prompts", []), ("prompts", {}), ("prompts", {"box": 0}),
        ("prompts", {"box": 1, "click": -1}), ("memories", {"recency": "1"}), ("corrections", {"none": None}),
        ("data", {"a": 0}), ("data", {"a": -1, "b": 2}), ("data", "a"), ("data", {}),
    ],
)  # fmt: skip
def test_values_that_cannot_be_used_are_named(tmp_path: Path, entry: str, value: Any) -> None:
    path = written(tmp_path / "c.json", GOOD | {entry: value})
    with pytest.raises(m2.WeightsError, match=rf"^{path}: {entry}\b[^\n]*: (give|correct|write)[^\n]*\.$"):
        load_config(path)


@pytest.mark.parametrize("entry", ["steps", "length", "clips"])
@pytest.mark.parametrize("value", ["1", 1.5, 0, True, None])
def test_numbers_of_phases_are_positive_and_whole(tmp_path: Path, entry: str, value: Any) -> None:
    path = written(tmp_path / "c.json", GOOD | {"phases": [PHASE, PHASE | {entry: value}]})
    with pytest.raises(m2.WeightsError, match=rf"^{path}: phases\[1\]\.{entry} holds .*: give a whole number from 1 "):
        load_config(path)


def test_the_configurations_of_the_starter_can_be_used() -> None:
    assert [load_config(path).model for path in STARTERS] == ["starter"] * 12


def test_missing_settings(tmp_path: Path) -> None:
    with pytest.raises(m2.WeightsError, match="cannot be read"):
        load_config(tmp_path / "none.json")
