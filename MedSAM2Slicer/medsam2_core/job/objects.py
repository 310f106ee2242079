"""The objects of a run: those of a run file, of an earlier segmentation, of a detector, and of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

from medsam2_core.errors import PromptError
from medsam2_core.image.slicing import Slicing
from medsam2_core.image.terminology import Terminology
from medsam2_core.io import PriorObject, Volume, read_prior, read_terminology
from medsam2_core.job.detections import place_detections
from medsam2_core.job.place_options import every_nth, place_options
from medsam2_core.job.prompt_options import MaskOption, PromptOption, mask_source, parse_prompts
from medsam2_core.notices import tell
from medsam2_core.run.prompts import Prompt, RunObject, make_objects, place_mask


def shows_objects(options: argparse.Namespace) -> bool:
    """Whether any object is shown by anything but a run file."""
    return bool(options.typed) or options.prior is not None or options.boxes is not None


def refuse_idle(options: argparse.Namespace) -> None:
    """Raise PromptError for an option that has no effect, for lack of the one that it belongs to."""
    for option in ("transform", "least-score", "every"):
        require_use(options, option)


def require_use(options: argparse.Namespace, option: str) -> None:
    """As `refuse_idle`, of one of these options alone."""
    if option == "transform" and options.transform is not None and options.prior is None:
        raise PromptError("--transform carries an earlier segmentation here: give that too, as --from-segmentation.")
    if option == "least-score" and options.least_score is not None and options.boxes is None:
        raise PromptError("--least-score chooses among the boxes of a detector: give --boxes too, or omit it.")
    if option == "every" and options.every is not None and not has_masks(options):
        raise PromptError("--every takes slices of a mask: give --mask or --from-segmentation too, or omit it.")


def has_masks(options: argparse.Namespace) -> bool:
    """Whether there is anything that --every thins."""
    return options.prior is not None or any(option == "--mask" for option, _ in options.typed or [])


def run_objects(
    options: argparse.Namespace, saved: Sequence[RunObject], slicing: Slicing, volume: Volume
) -> list[RunObject]:
    """Objects in that order; one that several name gets the prompts of all. Raises PromptError, VolumeError."""
    if not shows_objects(options):
        return list(saved)
    prompts: dict[str, list[Prompt]] = {item.segment.name: list(item.prompts) for item in saved}
    labels = {item.segment.name: item.segment.label for item in saved}
    colors = {item.segment.name: item.segment.color for item in saved}
    said = {item.segment.name: item.segment.terminology for item in saved}
    for one, placed in _earlier(options, slicing):
        prompts.setdefault(one.name, []).extend(placed)
        if one.color is not None:
            colors.setdefault(one.name, one.color)
        said[one.name] = said.get(one.name) or one.terminology
    if options.boxes is not None:
        for name, placed in place_detections(options.boxes, options.least_score, options.frame, slicing).items():
            prompts.setdefault(name, []).extend(placed)
    typed = parse_prompts(options.typed or [])
    every = options.every or 1
    for name, given in typed.items():
        prompts.setdefault(name, []).extend(place_options(given, options.frame, slicing, volume.stored, every))
    made = make_objects(prompts, labels, colors)
    return [_with_terminology(item, said.get(item.segment.name), typed.get(item.segment.name, ())) for item in made]


def _earlier(options: argparse.Namespace, slicing: Slicing) -> Iterator[tuple[PriorObject, list[Prompt]]]:
    """The objects of an earlier segmentation, carried onto this image, and every n-th slice of each as prompts."""
    if options.prior is None:
        return
    every = options.every or 1
    if every == 1:
        tell("Each slice of the earlier segmentation is a prompt, so none of them is redrawn: see --every.")
    source = mask_source(options.prior)
    for one in read_prior(source.path, slicing.geometry, source.name, options.transform):
        yield one, every_nth(place_mask(one.mask, slicing), every)


def _with_terminology(item: RunObject, said: Terminology | None, typed: Sequence[PromptOption]) -> RunObject:
    """The object, which is what was `said` that it is, or else what a file of its masks says."""
    by_masks = (read_terminology(one.path, one.name) for one in typed if isinstance(one, MaskOption))
    known = said or next((one for one in by_masks if one is not None), None)
    return replace(item, segment=replace(item.segment, terminology=known))
