"""What `medsam2 images` is about to do: images looked through, prompts placed, all before a model is loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.files.draft import remove_abandoned
from medsam2_core.image.pixels import ImageFacts
from medsam2_core.image.segments import Segment
from medsam2_core.image.window import Window
from medsam2_core.io.exif import is_turned
from medsam2_core.io.picture_files import Place, look_through, result_names
from medsam2_core.io.pictures import find_pictures, read_labels
from medsam2_core.job.image_prompts import ImagePrompt, mask_and_label, parse_image_prompts, read_image_prompts
from medsam2_core.job.paths import require_no_file
from medsam2_core.memory_name import check_seed, draws
from medsam2_core.notices import tell
from medsam2_core.prompts import SlicePrompt
from medsam2_core.run.prompts import palette_color
from medsam2_core.weights.model_file import ModelFile, find_model

_NO_PROMPTS = (
    "There is no prompt: name an image with --prompt FILE and show the object in it with --point X,Y, "
    "--box X0,Y0,X1,Y1 or --mask FILE, or give --prompts FILE.json."
)

_SHOWING = ("point", "box", "mask")
_SHOWN = 10
_ANY_GRAY = np.arange(256, dtype=np.uint8)  # to read the text of a window before any image is


@dataclass(frozen=True)
class SetPrompt:
    """A prompt whose image is the one at `index`; of a mask or of absence `mask` has its pixels."""

    index: int
    label: int
    prompt: ImagePrompt
    mask: Mask | None = None


@dataclass(frozen=True)
class SetPlan:
    """A run on a set that can start. `skipped` says of each file that has no image what is wrong with it."""

    places: tuple[Place, ...]
    facts: tuple[ImageFacts, ...]
    names: tuple[str, ...]
    skipped: tuple[str, ...]
    segments: tuple[Segment, ...]
    prompts: tuple[SetPrompt, ...]
    model: ModelFile
    output: Path

    @property
    def masks(self) -> Path:
        """The folder of the masks."""
        return self.output / "masks"

    @property
    def equal_sizes(self) -> bool:
        """Whether the images can be the slices of one segmentation."""
        return len(self.places) > 1 and len({(one.shape, one.spacing) for one in self.facts}) == 1


def make_set_plan(options: argparse.Namespace) -> SetPlan:
    """Read and check everything that a run needs.

    Raises PromptError, VolumeError or WeightsError, in one sentence that says what to do; files without an image are
    left out and noted.
    """
    check_seed(options.seed)
    if options.seed is not None and not draws(options.order, options.memory):
        raise PromptError("--seed has no effect without --order arrival and self-sorting memory: omit it.")
    prompts = [] if options.prompts is None else read_image_prompts(options.prompts)
    prompts += parse_image_prompts(options.typed or [])
    if not prompts:
        raise PromptError(_NO_PROMPTS)
    if options.window is not None and options.window != "auto":
        Window.parse(options.window, _ANY_GRAY)
    model = find_model(options.model)
    require_no_file(options.output)
    paths = _inputs(options.images, prompts, options.output)
    with _made_output(options.output):  # before the images are read, which may take minutes
        skipped: list[str] = []
        shown = tqdm(paths, "reading", unit=" files", disable=options.quiet, leave=False)
        found = list(look_through(shown, options.window, lambda error: _skip(error, skipped)))
        if not found:
            raise VolumeError("None of the files holds an image that can be read: see the notes above.")
        places, facts = zip(*found, strict=True)
        _tell_turned(list(dict.fromkeys(place.path for place in places)))
        names = list(dict.fromkeys(one.name for one in prompts))
        segments = tuple(Segment(name, label, palette_color(label - 1)) for label, name in enumerate(names, 1))
        placed = tuple(_place(one, places, facts, names.index(one.name) + 1) for one in prompts)
        _require_objects(placed, segments)
        _require_no_contradiction(placed)
    return SetPlan(places, facts, tuple(result_names(places)), tuple(skipped), segments, placed, model, options.output)


def _skip(error: VolumeError, skipped: list[str]) -> None:
    skipped.append(str(error))
    tell(f"{error} It is skipped.")


def _tell_turned(paths: Sequence[Path]) -> None:
    """Tell that coordinates of photographs as others show them, turned, are not those that are meant here."""
    turned = [path for path in paths if is_turned(path)]
    if turned:
        files = "1 file is" if len(turned) == 1 else f"{len(turned)} files, the first of them, are"
        tell(
            f"{turned[0]}: {files} shown turned or mirrored by other programs, which go by the orientation in the "
            "header (EXIF). Here coordinates and masks are of the pixels as stored."
        )


@contextmanager
def _made_output(folder: Path) -> Iterator[None]:
    """Make the folders of the results; what was made goes again if the statements inside raise."""
    masks = folder / "masks"
    made = [one for one in (masks, folder) if not one.exists()]
    masks.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    remove_abandoned(masks)
    try:
        yield
    except BaseException:
        for one in made:
            with suppress(OSError):
                one.rmdir()
        raise


def _inputs(sources: Sequence[Path], prompts: Sequence[ImagePrompt], output: Path) -> list[Path]:
    """All image files, the prompted ones too; of earlier results in the same folder none."""
    for one in prompts:
        if one.image.is_dir():
            raise PromptError(f"{one.image}: This is a folder: name the image in it that is prompted.")
    wanted = [*sources, *dict.fromkeys(one.image for one in prompts)]
    results = output.resolve()
    found: dict[Path, Path] = {}
    for path in find_pictures(wanted):
        place = path.resolve()
        if results not in place.parents:
            found.setdefault(place, path)
        elif path in wanted:
            raise VolumeError(f"{path}: This is in the output folder, where it could be replaced: move it elsewhere.")
    return list(found.values())


def _place(prompt: ImagePrompt, places: Sequence[Place], facts: Sequence[ImageFacts], label: int) -> SetPrompt:
    wanted = prompt.image.resolve()
    frames = {place.frame: index for index, place in enumerate(places) if place.path.resolve() == wanted}
    if not frames:
        raise PromptError(f"{prompt.image}: The prompted image cannot be read: prompt another one.")
    if prompt.frame not in frames:
        raise PromptError(f"{prompt.image}@{prompt.frame}: There is no such frame: give one from 0 to {max(frames)}.")
    index = frames[prompt.frame]
    shape = facts[index].shape
    if prompt.kind == "absent":
        return SetPrompt(index, label, prompt, np.zeros(shape, bool))
    if prompt.kind == "mask":
        return SetPrompt(index, label, prompt, _read_mask(prompt, shape))
    _check_inside(prompt, shape)
    return SetPrompt(index, label, prompt)


def _check_inside(prompt: ImagePrompt, shape: tuple[int, int]) -> None:
    """Raise PromptError for a point or box that is not within an image."""
    try:
        if prompt.kind == "box":
            SlicePrompt().with_box(prompt.numbers, shape)
        else:
            SlicePrompt().with_points([prompt.numbers], [1], shape)
    except PromptError as error:
        raise PromptError(f"{prompt.where}: {error}".replace("the slice", "the image")) from error


def _read_mask(prompt: ImagePrompt, shape: tuple[int, int]) -> Mask:
    """A mask that marks something, of an image's size. Raises PromptError, VolumeError."""
    path, label = mask_and_label(prompt.mask)
    labels = read_labels(path)
    if labels.shape != shape:
        sizes = [" x ".join(map(str, size[::-1])) for size in (labels.shape, shape)]
        raise PromptError(f"{path}: The mask has {sizes[0]} pixels but the image {sizes[1]}: give one of its size.")
    mask: Mask = labels != 0 if label is None else labels == label
    if label is not None and not mask.any():
        held = ", ".join(map(str, np.unique(labels)[:_SHOWN].tolist()))
        raise PromptError(f"{path}: The mask marks no pixel with the label {label}; it has {held}: choose one of them.")
    if not mask.any():
        raise PromptError(f"{prompt.mask}: The mask marks no pixel: if the object is not there, use --absent.")
    return mask


def _require_objects(prompts: Sequence[SetPrompt], segments: Sequence[Segment]) -> None:
    """Raise PromptError for an object that no prompt shows."""
    for segment in segments:
        if not any(one.label == segment.label and one.prompt.kind in _SHOWING for one in prompts):
            raise PromptError(
                f"Object {segment.name!r} has no prompt in any image: add --point, --box or --mask to one of them."
            )


def _require_no_contradiction(prompts: Sequence[SetPrompt]) -> None:
    """Raise PromptError for an object that is shown in an image and said to be absent from it."""
    shown = {(one.index, one.label) for one in prompts if one.prompt.kind in _SHOWING}
    for one in prompts:
        if one.prompt.kind == "absent" and (one.index, one.label) in shown:
            raise PromptError(
                f"{one.prompt.image}: Object {one.prompt.name!r} has a prompt here and is said to be absent: "
                "give only one of the two."
            )
