"""A set of images that the worker has open, and the work on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.run.prompts import RunObject, add_prompts, masks_first
from medsam2_core.stopping import CancelToken
from medsam2_core.worker.image_sets import SetAnswered, SetStep
from medsam2_core.worker.interfaces import Backend, SessionStep, SetSession, SetSpec
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectAnswer

_AS_STORED = SliceOrientation(0, swap=False, flip_rows=False, flip_columns=False, shape=(0, 0))


class OpenSet:
    """A session on a set of images; what the model saw of them is kept from one run to the next."""

    def __init__(self, backend: Backend, spec: SetSpec) -> None:
        self.session: SetSession = backend.open_set(spec)
        self._labels: set[int] = set()

    def segment(
        self, objects: Sequence[RunObject], cancel: CancelToken, send: Callable[[SetStep], None]
    ) -> SetAnswered:
        """Answer all images for the objects, sending each answer. Raises PromptError.

        Equal prompts give equal answers, whatever was asked before; points and boxes correct a mask of their image.
        """
        started = time.perf_counter()
        for label in self._labels:
            self.session.remove_object(label)
        self._labels = {item.segment.label for item in objects}
        ordered = [replace(item, prompts=tuple(masks_first(item.prompts))) for item in objects]
        add_prompts(self.session, ordered, _AS_STORED)
        reached = (0, 0)

        def progress(done: int, planned: int) -> None:
            nonlocal reached
            reached = done, planned
            send(SetStep(None, done, planned))

        for step in self.session.steps(cancel, progress):
            send(SetStep(step.slice_index, *reached, self._answers(step)))
        return SetAnswered(cancel.cancelled, time.perf_counter() - started)

    def _answers(self, step: SessionStep) -> tuple[ObjectAnswer, ...]:
        labels, sure = self.session.labels(step.slice_index), self.session.certainty(step.slice_index)
        return tuple(
            ObjectAnswer(label, PackedMask.of(np.asarray(labels == label)), sure[label], step.object_score[label])
            for label in step.masks
        )
