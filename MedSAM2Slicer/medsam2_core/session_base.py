"""What sessions of volumes and of image sets share: prompts of objects on slices, and the answers there."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy.typing as npt
import torch

from medsam2_core.answers import SlicePrediction, SliceResult
from medsam2_core.arrays import Mask
from medsam2_core.conditioning import condition
from medsam2_core.embeddings import EmbeddingCache
from medsam2_core.errors import PromptError
from medsam2_core.feature_folder import FeatureFolder
from medsam2_core.image.pixels import PixelStack
from medsam2_core.image.region import Region, view_called
from medsam2_core.image.segments import MAX_LABEL
from medsam2_core.memory_bank import MemoryRule, memory_rule
from medsam2_core.model import SAM2
from medsam2_core.prompts import SlicePrompt, mask_prompt
from medsam2_core.propagation import Propagator
from medsam2_core.session_object import SessionObject


@dataclass(frozen=True)
class PropagationStep:
    """The objects that reached a slice going one way; masks are (rows, columns). Direction as in `SliceResult`.

    Disagreement, too, where several axes had a say.
    """

    slice_index: int
    direction: str
    masks: dict[int, Mask]
    confidence: dict[int, float]
    object_score: dict[int, float]
    disagreement: dict[int, float] = field(default_factory=dict)


class Session:
    """What volumes and image sets share: prompts of objects on slices, and the answers there."""

    def __init__(self, model: SAM2, stack: PixelStack, memory: str | MemoryRule, field_of_view: str) -> None:
        self.model = model
        self._stack = stack
        self._memory = memory_rule(memory)
        self._view = view_called(model.config.field_of_view if field_of_view == "auto" else field_of_view)
        self._cache = EmbeddingCache(model, stack, folder=FeatureFolder.chosen(model))
        self._propagator = Propagator(model, stack, self._cache, self._view)
        self._objects: dict[int, SessionObject] = {}

    @property
    def field_of_view(self) -> str:
        """What the model sees of a slice: whole or zoom."""
        return self._view.name

    @property
    def encoder_runs(self) -> int:
        """Views that went through the image encoder so far."""
        return self._cache.encoded

    @property
    def encoder_counts(self) -> dict[str, int]:
        """Views so far: "runs" through the image encoder, and "hits", asked for and not to be encoded again."""
        return {"runs": self._cache.encoded, "hits": self._cache.hits}

    @property
    def cache_bytes(self) -> int:
        """Bytes of image features kept on the model's device."""
        return self._cache.bytes

    def limit_cache(self, max_bytes: int) -> None:
        """Keep at most `max_bytes` of image features; what is dropped is computed again when it is needed."""
        self._cache.limit(max_bytes)

    def add_points(self, object_id: int, slice_index: int, points_xy: npt.ArrayLike, labels: Sequence[int]) -> None:
        """Add points (n, 2) as (x, y) in pixels, with labels (n,): 1 include, 0 exclude. Raises `PromptError`.

        On a slice that a propagation has drawn, or that a mask was given for, the points correct what is there.
        """
        object_id, slice_index = self._place(object_id, slice_index)
        prompt = self._prompt_at(object_id, slice_index)
        self._set(object_id, slice_index, prompt.with_points(points_xy, labels, self._stack.shape(slice_index)))

    def add_box(self, object_id: int, slice_index: int, box_xyxy: Sequence[float]) -> None:
        """Set the box x0, y0, x1, y1 in pixels around the object on a slice, as `add_points`. Raises `PromptError`."""
        object_id, slice_index = self._place(object_id, slice_index)
        prompt = self._prompt_at(object_id, slice_index)
        self._set(object_id, slice_index, prompt.with_box(box_xyxy, self._stack.shape(slice_index)))

    def add_mask(self, object_id: int, slice_index: int, mask: npt.ArrayLike) -> None:
        """Take a mask (rows, columns) as the truth on a slice, in place of its prompts so far.

        All that is not 0 is the object; probabilities are to be cut first. Raises `PromptError`.
        """
        object_id, slice_index = self._place(object_id, slice_index)
        self._set(object_id, slice_index, mask_prompt(mask, self._stack.shape(slice_index)))

    def remove_prompts(self, object_id: int, slice_index: int) -> None:
        """Forget an object's prompts on a slice; what a propagation drew stays until the next one.

        An object without any prompt left is gone then.
        """
        known = self._known(object_id)
        known.prompts.pop(slice_index, None)
        known.conditioning.pop(slice_index, None)

    def remove_object(self, object_id: int) -> None:
        """Forget an object, its prompts and what was drawn of it; unknown ones are forgotten already."""
        self._objects.pop(object_id, None)

    @torch.inference_mode()
    def look(self, slice_index: int) -> None:
        """Compute the image features of a slice ahead of its first prompt. Raises `PromptError`."""
        slice_index = self._index(slice_index)
        self._cache.get([(slice_index, Region.whole(*self._stack.shape(slice_index)))])

    def snapshot(self) -> Callable[[], None]:
        """Return what brings the objects back to how they are now, prompts and answers. It copies no answer."""
        before = {object_id: known.copied() for object_id, known in self._objects.items()}

        def bring_back() -> None:
            self._objects = before

        return bring_back

    def predict_slice(self, slice_index: int) -> dict[int, SlicePrediction]:
        """Masks on a slice by object id: of prompted objects at once, of others as last propagated."""
        slice_index = self._index(slice_index)
        self._condition_all()
        shape = self._stack.shape(slice_index)
        answers = {object_id: known.answer(slice_index) for object_id, known in self._objects.items()}
        return {object_id: answer.predict(*shape) for object_id, answer in answers.items() if answer is not None}

    def results(self, object_id: int) -> dict[int, SliceResult]:
        """Confidence, object score, direction and area of every slice where an object was prompted or tracked."""
        return {
            index: answer.result(self._stack.shape(index), self._stack.spacing(index))
            for index, answer in self._known(object_id).answers().items()
        }

    def stops(self, object_id: int) -> dict[str, str]:
        """Why each direction of an object's last propagation ended, as a sentence, by direction."""
        return dict(self._known(object_id).stops)

    def _known(self, object_id: int) -> SessionObject:
        if object_id not in self._objects:
            known = ", ".join(str(number) for number in self._objects) or "none yet"
            raise PromptError(f"Object {object_id} has no prompt: objects with prompts are {known}.")
        return self._objects[object_id]

    def _prompt_at(self, object_id: int, index: int) -> SlicePrompt:
        """Return the prompts a new one is added to; on a tracked slice they start from what is drawn there."""
        known = self._objects.get(object_id, SessionObject())
        if index in known.prompts:
            return known.prompts[index]
        answer = known.answer(index)
        if answer is None:
            return SlicePrompt()
        logits = answer.logits(*self._stack.shape(index))
        return SlicePrompt(before=logits if bool((logits > 0).any()) else None)

    def _set(self, object_id: int, index: int, prompt: SlicePrompt) -> None:
        self._objects.setdefault(object_id, SessionObject()).set_prompt(index, prompt, self._stack.shape(index))

    def _place(self, object_id: int, index: int) -> tuple[int, int]:
        label = whole_number(object_id, "The object id")
        if not 1 <= label <= MAX_LABEL:
            raise PromptError(f"Object id {label} cannot be a label: choose one from 1 to {MAX_LABEL}.")
        return label, self._index(index)

    def _index(self, index: int) -> int:
        index = whole_number(index, "The slice")
        if not 0 <= index < len(self._stack):
            raise PromptError(f"Slice {index} does not exist: slices go from 0 to {len(self._stack) - 1}.")
        return index

    def _condition_all(self) -> None:
        for known in self._objects.values():
            for index, prompt in known.prompts.items():
                if index not in known.conditioning:
                    known.conditioning[index] = condition(self._propagator, index, prompt, known.seen(index))

    def _step(self, index: int, direction: str, object_ids: Sequence[int], mask: Mask | None = None) -> PropagationStep:
        """The answers on a slice. Their mask is taken from the device, unless it is here already."""
        shape = self._stack.shape(index)
        answers = {object_id: self._objects[object_id].answer(index) for object_id in object_ids}
        present = {object_id: answer for object_id, answer in answers.items() if answer is not None}
        return PropagationStep(
            index,
            direction,
            {
                object_id: (answer.logits(*shape) > 0).cpu().numpy() if mask is None else mask
                for object_id, answer in present.items()
            },
            {object_id: answer.confidence for object_id, answer in present.items()},
            {object_id: answer.object_score for object_id, answer in present.items()},
            {number: answer.disagreement for number, answer in present.items() if answer.disagreement is not None},
        )


def whole_number(value: int, what: str) -> int:
    """Return a whole number of Python's, from numpy's too. Raises `PromptError`, which names `what` it should be."""
    try:
        return operator.index(value)
    except TypeError as error:  # a float even if it is whole: ranges and label maps take none
        raise PromptError(f"{what} is {value!r}, which is not a whole number: give one such as 6.") from error
