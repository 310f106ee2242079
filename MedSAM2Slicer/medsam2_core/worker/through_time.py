"""The worker's part in carrying objects from one moment to all others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from medsam2_core.arrays import Mask
from medsam2_core.errors import PromptError, VolumeError
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.slicing import Slicing
from medsam2_core.run.prompts import MaskPrompt, RunObject
from medsam2_core.stopping import CancelToken
from medsam2_core.worker.interfaces import Backend, MomentsSpec, SeenVolume
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.time_steps import MomentAnswer, TimeStep


def through_time(
    backend: Backend,
    spec: MomentsSpec,
    volumes: Sequence[SeenVolume],
    objects: Sequence[RunObject],
    cancel: CancelToken,
    send: Callable[[TimeStep], None],
) -> None:
    """Carry objects from the masks that they have in a moment to all other moments, sending each.

    Raises PromptError for an object without a mask, VolumeError for volumes that differ in their grids.
    """
    geometry = volumes[spec.start].geometry
    if any(volume.geometry.shape_kji != geometry.shape_kji for volume in volumes):
        raise VolumeError("The frames have volumes of different sizes: resample them to one grid first.")
    slicing, orientation = Slicing(geometry, spec.axis), SliceOrientation.upright(geometry, spec.axis)
    known = {item.segment.label: _mask(item, slicing, orientation) for item in objects}
    for done, moment in enumerate(backend.onward(spec, volumes, orientation, known, cancel), 2):
        answers = tuple(
            MomentAnswer(label, _packed(mask, orientation), float(moment.confidence[label]))
            for label, mask in moment.masks.items()
        )
        send(TimeStep(moment.index, done, len(volumes), answers))


def _mask(item: RunObject, slicing: Slicing, orientation: SliceOrientation) -> Mask:
    """An object's mask on turned slices, (slices, rows, columns), from its mask prompts."""
    prompts = [prompt for prompt in item.prompts if isinstance(prompt, MaskPrompt)]
    if not any(prompt.mask.any() for prompt in prompts):
        raise PromptError("There is nothing to carry through time: segment the object in this frame first.")
    mask = np.zeros((slicing.count, *orientation.shape), dtype=bool)
    for prompt in prompts:
        if not 0 <= prompt.slice_index < slicing.count:
            raise PromptError(f"Slice {prompt.slice_index} does not exist: slices go from 0 to {slicing.count - 1}.")
        mask[prompt.slice_index] = orientation.turn_mask(prompt.mask)
    return mask


def _packed(mask: Mask, orientation: SliceOrientation) -> dict[int, PackedMask]:
    marked = np.flatnonzero(mask.any(axis=(1, 2)))
    return {int(index): PackedMask.of(orientation.turn_slice_back(mask[index])) for index in marked}
