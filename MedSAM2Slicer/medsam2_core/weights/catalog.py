"""The models the product knows: where their files come from, their size, checksum and license."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any
from urllib.parse import urlsplit

from medsam2_core.errors import WeightsError

CATALOG_FILE = "models.json"
_VERSION = 1
_REINSTALL = "reinstall MedSAM2Slicer or repair the file"

# The JSON type of each field; `bool` is not accepted as `int`.
_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "title": (str,),
    "url": (str, NoneType),
    "homepage": (str, NoneType),
    "file": (str,),
    "bytes": (int, NoneType),
    "sha256": (str,),
    "license": (str,),
    "license_text": (str,),
    "permissive": (bool,),
    "intended_use": (str,),
    "config": (str,),
    "image_size": (int,),
}


@dataclass(frozen=True)
class ModelEntry:
    """One model of the catalog.

    name: what the user types; title: the full name for people.
    url: where the file is downloaded from, None for a model that comes with the product.
    file: the bare file name on disk; size_bytes: its length in bytes, None where unknown.
    sha256: 64 lower-case hexadecimal digits; empty only for a bundled model that is not released yet.
    `license`: SPDX identifier or short text; license_text: the sentences to show before a download.
    permissive: whether the license allows any use, so that no question is asked.
    config: the name for `build_model`; image_size: side of the model's square input in pixels.
    """

    name: str
    title: str
    url: str | None
    homepage: str | None
    file: str
    size_bytes: int | None
    sha256: str
    license: str
    license_text: str
    permissive: bool
    intended_use: str
    config: str
    image_size: int


def models_folder() -> Path:
    """Folder of the catalog and the bundled weights.

    Raises:
        WeightsError: the installation has no such folder.
    """
    package = Path(__file__).resolve().parents[1]
    # Beside the package in Slicer and in a source tree; inside it in a wheel.
    for root in (package.parent, package):
        folder = root / "Resources" / "Models"
        if (folder / CATALOG_FILE).is_file():
            return folder
    raise WeightsError(f"{CATALOG_FILE} is missing beside and inside {package}: reinstall MedSAM2Slicer.")


def load_catalog(path: Path | None = None) -> dict[str, ModelEntry]:
    """Read the catalog at `path` (default: the product's own) and return its entries by name, in file order.

    Raises:
        WeightsError: the file cannot be read, or an entry is not valid.
    """
    path = models_folder() / CATALOG_FILE if path is None else path
    entries = [_entry(raw, path) for raw in _raw_models(path)]
    _require_unique((entry.name for entry in entries), "name", path)
    _require_unique((entry.file for entry in entries), "file", path)
    return {entry.name: entry for entry in entries}


def find_entry(catalog: Mapping[str, ModelEntry], name: str) -> ModelEntry:
    """Return the entry called `name`.

    Raises:
        WeightsError: there is none; the message lists the names and the closest ones.
    """
    if name in catalog:
        return catalog[name]
    # Two suggestions, because a typed "medsam2" can mean either group's model.
    close = " or ".join(repr(known) for known in difflib.get_close_matches(name, catalog, n=2))
    suggestion = f" (did you mean {close}?)" if close else ""
    raise WeightsError(f"{name!r} is not a known model{suggestion}: choose one of {', '.join(catalog)}.")


def _raw_models(path: Path) -> list[Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}): {_REINSTALL}.") from error
    except ValueError as error:
        raise WeightsError(f"{path} is not valid JSON ({error}): {_REINSTALL}.") from error
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise WeightsError(f"{path} is not a model catalog of version {_VERSION}: {_REINSTALL}.")
    models = document.get("models")
    if not isinstance(models, list):
        raise WeightsError(f"{path} has no list of models: {_REINSTALL}.")
    return models


def _entry(raw: Any, path: Path) -> ModelEntry:
    problem = _problem(raw)
    if problem:
        name = raw.get("name", "?") if isinstance(raw, dict) else "?"
        raise WeightsError(f"{path} has a faulty entry {name!r} ({problem}): {_REINSTALL}.")
    return ModelEntry(**{_attribute(key): value for key, value in raw.items()})


def _attribute(key: str) -> str:
    return "size_bytes" if key == "bytes" else key


def _problem(raw: Any) -> str | None:
    """Say what is wrong with one entry as read from JSON, or None."""
    if not isinstance(raw, dict):
        return "not an object"
    if raw.keys() != _FIELD_TYPES.keys():
        return f"missing or unknown fields: {', '.join(sorted(raw.keys() ^ _FIELD_TYPES.keys()))}"
    wrong = [key for key, allowed in _FIELD_TYPES.items() if type(raw[key]) not in allowed]
    if wrong:
        return f"wrong type of {', '.join(wrong)}"
    return _value_problem(raw)


def _value_problem(raw: dict[str, Any]) -> str | None:
    blank = [key for key in ("name", "title", "license", "license_text", "config") if not raw[key].strip()]
    if blank:
        return f"empty {', '.join(blank)}"
    # A path in the file name could leave the store's folder.
    if not re.fullmatch(r"\w[\w.+-]*", raw["file"]):
        return "file is not a bare file name"
    if raw["url"] is not None and not _is_web_address(raw["url"]):
        return "url is not an http or https address"
    if not re.fullmatch("[0-9a-f]{64}", raw["sha256"]) and (raw["url"] is not None or raw["sha256"]):
        return "sha256 is not 64 hexadecimal digits"
    if (raw["bytes"] or 0) < 0 or raw["image_size"] <= 0:
        return "bytes or image_size is out of range"
    return None


def _is_web_address(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _require_unique(values: Iterable[str], what: str, path: Path) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise WeightsError(f"{path} lists the {what} {value!r} twice: {_REINSTALL}.")
        seen.add(value)
