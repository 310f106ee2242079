"""Segmenting a set of images from Slicer's Python console: one call, RAS coordinates in, segmentations out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import slicer

from medsam2_core.errors import PromptError
from medsam2_core.memory_name import SEED_WITHOUT_EFFECT, draws
from medsam2_core.run.prompts import Prompt
from medsam2_core.worker.image_sets import SetStep
from MedSAM2SlicerLib.images.frameimages import FrameImages
from MedSAM2SlicerLib.images.imageset import Images
from MedSAM2SlicerLib.images.setrun import SetOptions, absentIn, ask, objectsOf, write
from MedSAM2SlicerLib.images.volumeimages import VolumeImages
from MedSAM2SlicerLib.prompts.placing import PromptPlacer, isGiven
from MedSAM2SlicerLib.scene.arguments import checkArguments
from MedSAM2SlicerLib.worker.calls import askAndWait
from MedSAM2SlicerLib.worker.client import WorkerClient

_KEY = "console/images"
_OBJECT = "object"
_WORDS = ("image", "object", "points", "exclude", "box", "absent")
_CHOOSE = "Give images as a list of volumes, or as the browser of a sequence of volumes."
Progress = Callable[[int, int], object]


def processImages(
    client: WorkerClient,
    images: Sequence[slicer.vtkMRMLScalarVolumeNode] | slicer.vtkMRMLSequenceBrowserNode,
    prompts: Sequence[Mapping[str, Any]],
    progress: Progress | None = None,
    **options: Any,
) -> list[slicer.vtkMRMLSegmentationNode]:
    """Segment all images from prompts on some; see `MedSAM2SlicerLogic.processImages` for the arguments.

    `options` are those of `SetOptions`; None for the default. Raises MedSAM2Error; what was done until then stays.
    """
    checkArguments(progress=progress, **options)
    chosen = SetOptions(**{name: value for name, value in options.items() if value is not None})
    if options.get("seed") is not None and not draws(chosen.order, chosen.memory):
        raise PromptError(SEED_WITHOUT_EFFECT)
    nodes: Sequence[Any] = [] if isinstance(images, slicer.vtkMRMLSequenceBrowserNode) else _listed(images)
    found: Images = VolumeImages(nodes) if nodes else FrameImages(images)
    given: dict[str, list[Prompt]] = {}
    for prompt in _checked(prompts):
        given.setdefault(_name(prompt), []).extend(_placed(found, nodes, prompt))
    objects = objectsOf(given, found.masks.colors())
    written: dict[int, slicer.vtkMRMLSegmentationNode] = {}

    def onStep(step: SetStep) -> None:
        if step.image_index is not None:
            written[step.image_index] = write(found, objects, step.image_index, step.answers)
        elif progress is not None:
            progress(step.done, step.planned)

    try:
        askAndWait(partial(ask, client, _KEY, found, objects, chosen), onStep)
    finally:
        client.closeImages(_KEY)
    return list(dict.fromkeys(written[index] for index in sorted(written)))


def _listed(images: Any) -> Sequence[Any]:
    """The volumes of a set. Raises PromptError for anything else."""
    if not isinstance(images, Iterable):
        raise PromptError(_CHOOSE)
    nodes: list[Any] = []
    for node in images:
        if not isinstance(node, slicer.vtkMRMLScalarVolumeNode):
            raise PromptError(f"{node!r} is no volume. {_CHOOSE}")
        if node in nodes:
            raise PromptError(f"{node.GetName()!r} is listed twice: list each volume once.")
        nodes.append(node)
    if not nodes:
        raise PromptError(f"There are no images. {_CHOOSE}")
    return nodes


def _checked(prompts: Any) -> Sequence[Mapping[str, Any]]:
    """The entries of `prompts`. Raises PromptError for anything that is no list of such."""
    if not isinstance(prompts, Sequence) or not all(isinstance(one, Mapping) for one in prompts):
        raise PromptError('Give prompts as a list of dictionaries, such as [{"image": 0, "points": [(10, 20, 0)]}].')
    return prompts


def _name(prompt: Mapping[str, Any]) -> str:
    """What the object of an entry is called. Raises PromptError for what is no name."""
    name = _OBJECT if prompt.get("object") is None else prompt["object"]
    if not isinstance(name, str) or not name.strip():
        raise PromptError(f"An object cannot be called {name!r}: give it a name.")
    return name


def _placed(images: Images, nodes: Sequence[Any], prompt: Mapping[str, Any]) -> list[Prompt]:
    """The prompts of one entry. Raises PromptError for words that mean nothing and images that are not there."""
    unknown = sorted(prompt.keys() - set(_WORDS))
    if unknown:
        raise PromptError(f"A prompt has no {unknown[0]!r}: use {', '.join(_WORDS)}.")
    index = _index(images, nodes, prompt.get("image", 0))
    placer = PromptPlacer(images.sliced(index))
    placed = placer.clicks(prompt.get("points"), prompt.get("exclude"))
    placed += [placer.box(prompt["box"])] if isGiven(prompt.get("box")) else []
    absent = [absentIn(images, index)] if prompt.get("absent") else []
    return [*absent, *(replace(one.prompt, slice_index=index) for one in placed)]


def _index(images: Images, nodes: Sequence[Any], image: Any) -> int:
    """An image given by its place in the list or its node."""
    if image in nodes:
        return nodes.index(image)
    isNumber = isinstance(image, int | np.integer) and not isinstance(image, bool)
    if not isNumber or not 0 <= image < len(images.names):
        raise PromptError(f"There is no image {image!r}: give one from 0 to {len(images.names) - 1}, or its node.")
    return int(image)
