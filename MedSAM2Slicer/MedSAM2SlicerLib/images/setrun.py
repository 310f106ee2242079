"""A run through a set: what the worker is asked, and what is written of its answers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error, PromptError
from medsam2_core.image.segments import Color, Segment
from medsam2_core.memory_name import draws
from medsam2_core.run.prompts import BoxPrompt, MaskPrompt, PointsPrompt, Prompt, RunObject, merge_points, palette_color
from medsam2_core.run.settings import RunSettings
from medsam2_core.worker.image_sets import SetAnswered, SetStep
from medsam2_core.worker.results import ObjectAnswer
from MedSAM2SlicerLib.images.imageset import Images
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.transports import nothing


@dataclass(frozen=True)
class SetOptions:
    """Choices of a run: the model, and whether images are taken in any order ("free") or as they come ("arrival").

    `memory` and `seed` are those of the order "arrival"; there is a seed where memories are drawn by chance.
    """

    model: str = RunSettings.model
    order: str = "free"
    memory: str = "self-sorting"
    seed: int = 0


def absentIn(images: Images, index: int) -> MaskPrompt:
    """Return the prompt which says that an object is not in an image. Raises VolumeError for an image."""
    return MaskPrompt(index, np.zeros(images.seen(index).shape, np.bool_))


def objectsOf(prompts: Mapping[str, Sequence[Prompt]], colors: Mapping[str, Color] | None = None) -> list[RunObject]:
    """Return objects by name, with prompts whose slices are images; those without a color get one that no other has.

    Raises PromptError for one that is shown nowhere.
    """
    for name, given in prompts.items():
        if not any(map(shows, given)):
            text = _("{name} is shown in no image: add a point or a box to one that it is in.")
            raise PromptError(text.format(name=repr(name)))
    known = dict(colors or {})
    for name in prompts:
        known.setdefault(name, freeColor(known.values()))
    return [
        RunObject(Segment(name, label, known[name]), merge_points(given))
        for label, (name, given) in enumerate(prompts.items(), 1)
    ]


def freeColor(taken: Collection[Color]) -> Color:
    """Return the first color of the palette that is not taken."""
    return next(color for color in map(palette_color, itertools.count()) if color not in taken)


def ask(
    client: WorkerClient,
    key: str,
    images: Images,
    objects: Sequence[RunObject],
    options: SetOptions,
    onStep: Callable[[SetStep], None],
    onDone: Callable[[SetAnswered], None] = nothing,
    onError: Callable[[MedSAM2Error], None] = nothing,
) -> Call:
    """Have the client know the model and the images, and ask for all answers. Raises VolumeError for an image."""
    seen = [images.seen(index) for index in range(len(images.names))]
    client.setModel(options.model)
    seed = int(options.seed) if draws(options.order, options.memory) else None
    client.setImages(key, seen, options.order, options.memory, seed)
    return client.segmentImages(key, objects, onStep, onDone, onError)


def write(
    images: Images, objects: Sequence[RunObject], index: int, answers: Sequence[ObjectAnswer]
) -> slicer.vtkMRMLSegmentationNode:
    """Write the answers to an image into the scene, but for what a person drew; returns the segmentation they are in.

    Raises VolumeError.
    """
    segments, shape = {item.segment.label: item.segment for item in objects}, images.seen(index).shape
    masks = {segments[one.object_id]: one.mask.full(shape) for one in answers}
    drawn = images.masks.handDrawn(index)
    return images.write(index, {one: mask for one, mask in masks.items() if (index, one.name) not in drawn})


def shows(prompt: Prompt) -> bool:
    """Return whether a prompt says that the object is in its image."""
    if isinstance(prompt, MaskPrompt):
        return bool(prompt.mask.any())
    if isinstance(prompt, PointsPrompt):
        return any(prompt.include)
    return isinstance(prompt, BoxPrompt) or prompt.include
