"""The catalog that ships with the product, and the refusal of faulty ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsam2_core.errors import WeightsError
from medsam2_core.weights import catalog as module
from medsam2_core.weights.catalog import find_entry, load_catalog, models_folder

SIZES = ("tiny", "small", "base_plus", "large")
Write = Callable[..., Path]


@pytest.fixture
def raw() -> dict[str, Any]:
    document = json.loads((models_folder() / "models.json").read_text(encoding="utf-8"))
    return next(model for model in document["models"] if model["name"] == "sam2_hiera_tiny")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def run(*models: object, version: int = 1) -> Path:
        path = tmp_path / "models.json"
        path.write_text(json.dumps({"version": version, "models": models}), encoding="utf-8")
        return path

    return run


def test_product_catalog_has_every_model() -> None:
    expected = ["starter"]
    expected += [f"{family}_hiera_{size}" for family in ("sam2", "sam2.1") for size in SIZES]
    assert list(load_catalog()) == [*expected, "medsam-2-zhu", "medsam2-toronto"]


def test_the_two_medsam2_are_named_in_full() -> None:
    catalog = load_catalog()
    assert catalog["medsam-2-zhu"].title == "MedSAM-2 (Zhu, Oxford)"
    assert catalog["medsam2-toronto"].title == "MedSAM2 (Ma/Wang, Toronto)"


def test_the_two_medsam2_ask_for_consent_and_fit_their_family() -> None:
    catalog = load_catalog()
    zhu, toronto = catalog["medsam-2-zhu"], catalog["medsam2-toronto"]
    assert (zhu.permissive, toronto.permissive) == (False, False)
    assert (zhu.config, zhu.image_size) == ("sam2_hiera_tiny", 1024)
    assert (toronto.config, toronto.image_size) == ("sam2.1_hiera_tiny", 512)
    assert zhu.size_bytes is None


def test_only_the_starter_is_bundled() -> None:
    assert [entry.name for entry in load_catalog().values() if entry.url is None] == ["starter"]


@pytest.mark.parametrize(("typed", "close"), [("sam2.1_hiera_tinny", "sam2.1_hiera_tiny"), ("startr", "starter")])
def test_unknown_model_suggests_the_closest(typed: str, close: str) -> None:
    with pytest.raises(
        WeightsError, match=f"^'{typed}' is not a known model .*did you mean '{close}'.*medsam2-toronto"
    ):
        find_entry(load_catalog(), typed)


def test_ambiguous_medsam2_names_both_groups() -> None:
    with pytest.raises(WeightsError, match=r"did you mean 'medsam-2-zhu' or 'medsam2-toronto'\?"):
        find_entry(load_catalog(), "medsam2")


def test_unknown_model_like_no_other_suggests_none() -> None:
    with pytest.raises(WeightsError, match=r"known model: choose one of starter, "):
        find_entry(load_catalog(), "zzzzzz")


def test_valid_entry_is_read(write: Write, raw: dict[str, Any]) -> None:
    entry = load_catalog(write(raw))["sam2_hiera_tiny"]
    assert entry.size_bytes == raw["bytes"]
    assert entry.sha256 == raw["sha256"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"title": 3}, "wrong type of title"),
        ({"bytes": True}, "wrong type of bytes"),
        ({"bytes": -1}, "out of range"),
        ({"image_size": 0}, "out of range"),
        ({"name": " "}, "empty name"),
        ({"file": "../evil.pt"}, "bare file name"),
        ({"file": "C:evil.pt"}, "bare file name"),
        ({"url": "ftp://host/file.pt"}, "http or https"),
        ({"url": "https:///file.pt"}, "http or https"),
        ({"sha256": ""}, "64 hexadecimal"),
        ({"sha256": "A" * 64}, "64 hexadecimal"),
        ({"sha256": "12", "url": None}, "64 hexadecimal"),
        ({"surprise": 1}, "unknown fields: surprise"),
    ],
)
def test_faulty_entry_is_refused(write: Write, raw: dict[str, Any], change: dict[str, Any], problem: str) -> None:
    with pytest.raises(WeightsError, match=problem):
        load_catalog(write({**raw, **change}))


def test_missing_field_and_non_object_are_refused(write: Write, raw: dict[str, Any]) -> None:
    del raw["license"]
    with pytest.raises(WeightsError, match="fields: " + "license"):
        load_catalog(write(raw))
    with pytest.raises(WeightsError, match="not an object"):
        load_catalog(write("text"))


def test_doubles_are_refused(write: Write, raw: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="lists the name 'sam2_hiera_tiny' twice"):
        load_catalog(write(raw, raw))
    with pytest.raises(WeightsError, match=r"lists the file 'sam2_hiera_tiny.pt' twice"):
        load_catalog(write(raw, {**raw, "name": "other"}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "not valid JSON"), ("[]", "not a model catalog"), ('{"version": 1}', "no list of models")],
)
def test_faulty_document_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "models.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match=problem):
        load_catalog(path)


def test_other_version_and_missing_file_are_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="version 1"):
        load_catalog(write(version=2))
    with pytest.raises(WeightsError, match="cannot be read"):
        load_catalog(tmp_path / "absent.json")


@pytest.mark.parametrize("inside", ["", "medsam2_core"], ids=["Slicer or source tree", "wheel"])
def test_models_folder_in_both_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inside: str) -> None:
    folder = tmp_path / inside / "Resources" / "Models"
    folder.mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "medsam2_core" / "weights" / "catalog.py"))
    with pytest.raises(WeightsError, match="reinstall"):
        models_folder()
    (folder / "models.json").touch()
    assert models_folder() == folder
