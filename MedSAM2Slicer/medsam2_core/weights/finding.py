"""Which file a model's name means; without PyTorch, which takes longer to load than to find any model."""

from __future__ import annotations

import os
from pathlib import Path

from medsam2_core.errors import WeightsError
from medsam2_core.weights.catalog import load_catalog
from medsam2_core.weights.store import WeightsStore


def find_weights(name_or_path: str | Path) -> tuple[Path, int | None]:
    """Return the file of a catalog model or the given file, and the image size the catalog wants, if any.

    A text is a path if it names an existing file or looks like one (has a folder or a suffix such as .pt). Raises
    WeightsError for a model that is not on this machine, and for what is neither a name nor a path.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        raise WeightsError(f"{name_or_path!r} is not a model: give a name from `medsam2 models list` or a path.")
    path = Path(name_or_path)
    if not str(name_or_path).strip():
        raise WeightsError("The model has no name: is a variable of your shell not set? See `medsam2 models list`.")
    catalog = load_catalog()
    store = WeightsStore(catalog=catalog)
    if str(name_or_path) in catalog:
        return store.path(str(name_or_path)), catalog[str(name_or_path)].image_size
    if path.exists() or len(path.parts) > 1 or path.suffix in (".pt", ".pth"):
        return path, None
    return store.path(str(name_or_path)), None  # raises, naming what there is


def require_model_file(path: Path) -> None:
    """Raise WeightsError unless a path is that of a file."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder: give the checkpoint file inside it.")
    if not path.is_file():
        raise WeightsError(
            f"{path} does not exist: give the path of a checkpoint or a name from `medsam2 models list`."
        )
