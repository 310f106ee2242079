"""`medsam2 info FILE`: what an image, a segmentation, a checkpoint or a run report holds."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medsam2_core.cli.summary import shown_ml
from medsam2_core.counting import are, counted
from medsam2_core.errors import VolumeError
from medsam2_core.job.options import add_series_options
from medsam2_core.job.paths import path_argument

if TYPE_CHECKING:
    from medsam2_core.image.geometry import Geometry
    from medsam2_core.image.slicing import Slicing
    from medsam2_core.io import Volume

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_Line = tuple[str, str]
_TOWARDS = {"R": "right", "L": "left", "A": "front", "P": "back", "S": "head", "I": "feet"}


def add_parser(subparsers: SubParsers) -> None:
    """Add `info`; it sets `command`, which takes the arguments and returns the exit code."""
    summary = "show what an image, a segmentation, a checkpoint or a run report holds"
    parser = subparsers.add_parser("info", help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False)
    parser.add_argument("file", type=path_argument, metavar="FILE", help="or a folder or DICOMDIR of DICOM slices")
    add_series_options(parser)
    parser.set_defaults(command=info)


def info(arguments: argparse.Namespace) -> int:
    """Print what `arguments.file` holds. Raises VolumeError, WeightsError or PromptError if it cannot be read."""
    path: Path = arguments.file
    lines = _lines(path, arguments)
    print(path)
    for name, value in lines:
        print(f"  {name:<13}{value}")
    return 0


def _lines(path: Path, arguments: argparse.Namespace) -> Iterator[_Line]:
    from medsam2_core.io.dicom.picture import is_cine
    from medsam2_core.io.volume import is_dicom_path, naming

    with naming(path):
        is_dicom = is_dicom_path(path)
    if is_dicom and is_cine(path, colors=True):
        return _image(path)
    if is_dicom:
        return _series(path, arguments.series, arguments.resample)
    if arguments.series is not None or arguments.resample:
        return _image(path, arguments.series, arguments.resample)  # which says that there is no series
    return _describer(path)(path)


def _series(path: Path, wanted: str | None, resample: bool) -> Iterator[_Line]:
    """The series there are; of the one that is chosen, or the only one, what it holds."""
    from medsam2_core.io import list_series, read_series
    from medsam2_core.io.dicom.grid import step_mm

    found = list_series(path)
    for one in found:
        first = one.frames[0]
        sizes = " x ".join(f"{size:.4g}" for size in (*(first.spacing or ()), step_mm(one.frames)) if size)
        slices = counted(len(one.frames), "slice")
        facts = [one.modality or "no modality", one.title, f"{slices} of {first.shape[1]} x {first.shape[0]} pixels"]
        yield f"series {one.number}", ", ".join([*facts, f"{sizes} mm" if sizes else "no size in mm"])
        yield "", one.uid
    if len(found) == 1 or wanted is not None:
        yield from _voxels(read_series(path, found, wanted, resample))


def _describer(path: Path) -> Callable[[Path], Iterator[_Line]]:
    name = path.name.lower()
    if name.endswith((".pt", ".pth")):
        return _checkpoint
    if name.endswith(".json"):
        return _run
    return _segmentation if name.endswith(".seg.nrrd") else _image


def _image(path: Path, series: str | None = None, resample: bool = False) -> Iterator[_Line]:
    from medsam2_core.io import read_volume

    return _voxels(read_volume(path, series, resample, colors=True))


def _voxels(volume: Volume) -> Iterator[_Line]:
    import numpy as np

    from medsam2_core.image.window import Window

    yield from _grid(volume.geometry, f"{volume.array.dtype} RGB" if volume.in_color else str(volume.array.dtype))
    if volume.in_color:
        return
    finite = volume.array[np.isfinite(volume.array)]
    yield "values", f"{finite.min():g} to {finite.max():g}{_not_finite(volume, finite.size)}"
    window = Window.auto(volume.array)
    yield "window", f"{window.name}, {window.lower:g} to {window.upper:g} (what --window auto takes)"


def _not_finite(volume: Volume, finite: int) -> str:
    count = volume.array.size - finite
    return f", and {counted(count, 'voxel')} that {are(count)} NaN or infinite" if count else ""


def _grid(geometry: Geometry, voxel_type: str) -> Iterator[_Line]:
    from medsam2_core.image.slicing import Slicing

    slicings = [Slicing(geometry, axis) for axis in (2, 1, 0)]  # i, j, k
    yield "size", " x ".join(str(slicing.count) for slicing in slicings) + f" voxels (i, j, k) of {voxel_type}"
    yield "spacing", " x ".join(f"{spacing:.4g}" for spacing in geometry.spacing_ijk) + " mm"
    code = "".join(_letter(slicing) for slicing in slicings)
    towards = ", ".join(f"{name} to the {_TOWARDS[letter]}" for name, letter in zip("ijk", code, strict=True))
    yield "orientation", f"{code} ({towards})"
    for slicing in reversed(slicings):
        name = "kji"[slicing.axis]
        yield f"--axis {slicing.axis}", f"{slicing.plane}, {counted(slicing.count, 'slice')} along {name}"


def _letter(slicing: Slicing) -> str:
    """The anatomical direction in which the index of slices grows."""
    from medsam2_core.image.slicing import PLANES

    row = PLANES.index(slicing.plane)
    grows = slicing.geometry.affine_ijk_to_ras[row, 2 - slicing.axis] > 0
    return ("RAS" if grows else "LPI")[row]


def _segmentation(path: Path) -> Iterator[_Line]:
    import numpy as np

    from medsam2_core.image.measure import volume_ml
    from medsam2_core.io import read_segments, read_volume

    labelmap, segments = read_segments(path)
    try:
        spacing = read_volume(path).geometry.spacing_kji
    except VolumeError:  # segments in layers, which are not a scalar volume
        spacing = None
    for segment in segments:
        size = counted(int(np.count_nonzero(labelmap == segment.label)), "voxel")
        if spacing is not None:
            size = shown_ml(volume_ml(labelmap == segment.label, spacing))
        yield f"label {segment.label}", f"{segment.name}, {size}"


def _checkpoint(path: Path) -> Iterator[_Line]:
    from medsam2_core.weights.checkpoint import load_state, read_checkpoint
    from medsam2_core.weights.checksum import file_sha256
    from medsam2_core.weights.model_file import catalog_match

    checkpoint = read_checkpoint(path)
    model = load_state(checkpoint)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    yield "model", f"{checkpoint.config.name}, {parameters / 1e6:.1f} million parameters"
    yield "image size", f"{checkpoint.config.image_size} pixels"
    sha256 = file_sha256(path)
    yield "sha256", sha256
    entry = catalog_match(sha256)
    yield "catalog", f"{entry.name}: {entry.title}, {entry.license}" if entry else "not a published file"


def _run(path: Path) -> Iterator[_Line]:
    from medsam2_core.image.slicing import SliceStack
    from medsam2_core.run.file import check_run, read_json

    content = read_json(path)
    run = check_run(content, path)
    settings = run.settings
    if settings.model:
        yield "model", settings.model
    if settings.window:
        yield "window", f"{settings.window.name}, {settings.window.lower:g} to {settings.window.upper:g}"
    if settings.range:
        stack = settings.stack or SliceStack()
        along = f"along axis {stack.axis}" if stack.plane is None else "of an oblique view"
        yield "slices", f"{settings.range[0]} up to but not including {settings.range[1]} {along}"
    for item, raw in zip(run.objects, content["objects"], strict=True):
        prompts = ", ".join(prompt["kind"] for prompt in item.prompts) or "none"
        yield "object", f"{item.name}{_millilitres(raw)}; prompts: {prompts}"


def _millilitres(raw: Mapping[str, Any]) -> str:
    value = raw.get("volume_ml")
    return f", {shown_ml(value)}" if isinstance(value, (int, float)) else ""
