"""The image of a case that is done, read again as the case named it, also where its files have moved meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from medsam2_core.cohort.columns import case_parser
from medsam2_core.errors import VolumeError
from medsam2_core.io import Volume, read_volume


def read_image(noted: Mapping[str, Any], results: Path) -> Volume:
    """Read the image of a case by what is `noted` of it in a folder of results.

    An image that is not where it was is looked for as its table named it, from the results' folder and those above:
    results and images may have been copied together. Raises PromptError, VolumeError.
    """
    image, *words = noted["command"][2:]
    options = case_parser().parse_args(words)
    return read_volume(_found(noted, Path(image), results), options.series, options.resample, colors=True)


def _found(noted: Mapping[str, Any], image: Path, results: Path) -> Path:
    if image.exists():
        return image
    for path in _elsewhere(noted, results):
        if path.exists():
            return path
    raise VolumeError(f"{image}: The image is no longer there: put it back, or the results beside the images' folder.")


def _elsewhere(noted: Mapping[str, Any], results: Path) -> Iterator[Path]:
    """Where the image may be; its name from the table's folder is that of the first of the noted files."""
    named = PurePosixPath(next(iter(noted.get("inputs", {})), ""))
    if named.name and not named.is_absolute() and ".." not in named.parts:
        folder = results.resolve()
        yield from (above / named for above in (folder, *folder.parents))
