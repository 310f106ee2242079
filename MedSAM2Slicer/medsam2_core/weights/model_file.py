"""Which checkpoint file a model's name or path means, and its checksum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from medsam2_core.weights.catalog import ModelEntry, load_catalog
from medsam2_core.weights.checksum import file_sha256
from medsam2_core.weights.finding import find_weights, require_model_file


@dataclass(frozen=True)
class ModelFile:
    """A checkpoint on this machine. `name` is a catalog name or the file's own; `source` is what to load by."""

    name: str
    path: Path
    source: str

    def sha256(self) -> str:
        """Checksum of the whole file, as 64 hexadecimal digits; WeightsError if it cannot be read."""
        return file_sha256(self.path)


def find_model(name_or_path: str) -> ModelFile:
    """The file of a catalog model, or the checkpoint at a path.

    Raises WeightsError, which says what to do, for an unknown name, a model that is not on this machine, or no file.
    """
    path, _ = find_weights(name_or_path)
    require_model_file(path)
    name = name_or_path if name_or_path in load_catalog() else path.name
    return ModelFile(name, path, name_or_path)


def catalog_match(sha256: str) -> ModelEntry | None:
    """The catalog's model with this checksum."""
    return next((entry for entry in load_catalog().values() if entry.sha256 == sha256), None)


def recorded_model(name: str, sha256: str | None) -> ModelEntry | None:
    """The catalog's model that a run was made with, by the checksum, else by the name; None for any other.

    A record is not trusted with paths: of a checkpoint outside the catalog it only knows the name of a file.
    """
    published = catalog_match(sha256) if sha256 else None
    return published or load_catalog().get(name)
