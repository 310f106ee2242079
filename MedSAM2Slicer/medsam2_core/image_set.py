"""One prompt, many images: an unordered set segmented from prompts on some of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from medsam2_core.answers import Answer, SlicePrediction
from medsam2_core.errors import PromptError
from medsam2_core.image.pixels import ImageStack
from medsam2_core.image.region import Region
from medsam2_core.image.window import Window
from medsam2_core.memory_bank import MemoryRule, Timeline
from medsam2_core.model import SAM2
from medsam2_core.propagation import Track
from medsam2_core.session_base import Session
from medsam2_core.stopping import CancelToken


class ImageSetSession(Session):
    """Segment one kind of object in unrelated gray images (rows, columns) of any size: MedSAM-2's one-prompt task.

    The images have no order of their own, so they are visited by how much they look like the prompted ones, the most
    alike first. "Slice" in the inherited methods means an image. Whole images are seen, since the object's place in
    one image says nothing of its place in another.
    """

    def __init__(
        self,
        model: SAM2,
        images: Sequence[npt.NDArray[Any]],
        window: Window | None = None,
        memory: str | MemoryRule = "self-sorting",
    ) -> None:
        super().__init__(model, ImageStack(images, window), memory, field_of_view="whole")

    def segment(self, cancel: CancelToken | None = None) -> list[dict[int, SlicePrediction]]:
        """Segment every prompted object in every image; one dict per image, by object id.

        Raises `PromptError` if nothing is prompted.
        """
        prompted = {number: known for number, known in self._objects.items() if known.prompts}
        if not prompted:
            raise PromptError("There is nothing to look for: add a point, a box or a mask on one image first.")
        self._condition_all()
        tracks = [self._track(number) for number in prompted]
        for new in self._propagator.run(tracks, cancel or CancelToken()):
            self._objects[new.track.object_id].tracked[new.index] = Answer((new.drawn,))
        return [self.predict_slice(index) for index in range(len(self._stack))]

    def _track(self, object_id: int) -> Track:
        known = self._objects[object_id]
        prompted = sorted(known.prompts)
        order = self._most_alike_first(prompted)
        # Prompted images come first in time, wherever they stand in the set.
        memories = [
            replace(known.conditioning[index].memory, slice_index=place) for place, index in enumerate(prompted)
        ]
        bank = self._memory.bank(self.model.config, Timeline(1, len(self._stack)), memories)
        places = range(len(prompted), len(self._stack))
        last = known.conditioning[prompted[-1]].drawn
        return Track(object_id, "forward", order, places, bank, last, known.seen, stop=None)

    def _most_alike_first(self, prompted: list[int]) -> list[int]:
        codes = F.normalize(torch.cat([self._code(index) for index in range(len(self._stack))]), dim=1)
        likeness = (codes @ codes[prompted].T).amax(dim=1).cpu().numpy()
        return [int(index) for index in np.argsort(-likeness, kind="stable") if index not in prompted]

    @torch.inference_mode()
    def _code(self, index: int) -> torch.Tensor:
        view = (index, Region.whole(*self._stack.shape(index)))
        return self._cache.get([view]).embedding.flatten(1).float()
