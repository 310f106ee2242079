"""What a session knows of one object: its prompts and what came of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from medsam2_core.answers import Answer
from medsam2_core.arrays import Mask
from medsam2_core.conditioning import Conditioning
from medsam2_core.prompts import SlicePrompt
from medsam2_core.propagation import DrawnSlice


@dataclass
class SessionObject:
    """Prompts of one object and what came of them, by slice.

    `edited` prompts are those that no propagation started from yet, except masks that only confirm what was drawn.
    """

    prompts: dict[int, SlicePrompt] = field(default_factory=dict)
    conditioning: dict[int, Conditioning] = field(default_factory=dict)
    tracked: dict[int, Answer] = field(default_factory=dict)
    stops: dict[str, str] = field(default_factory=dict)
    edited: set[int] = field(default_factory=set)

    def copied(self) -> SessionObject:
        """The same as it is now, whatever becomes of this one."""
        return replace(
            self,
            prompts=dict(self.prompts),
            conditioning=dict(self.conditioning),
            tracked=dict(self.tracked),
            stops=dict(self.stops),
            edited=set(self.edited),
        )

    def set_prompt(self, index: int, prompt: SlicePrompt, shape: tuple[int, int]) -> None:
        """Set the prompts on a slice of rows x columns; what came of the earlier ones there is dropped."""
        if prompt.mask is None or not self._shows(index, prompt.mask, shape):
            self.edited.add(index)
        self.prompts[index] = prompt
        self.conditioning.pop(index, None)

    def _shows(self, index: int, mask: Mask, shape: tuple[int, int]) -> bool:
        answer = self.answer(index)
        return answer is not None and np.array_equal(mask, (answer.logits(*shape) > 0).cpu().numpy())

    def answer(self, index: int) -> Answer | None:
        """What is drawn on a slice: a prompted one counts more than a tracked one."""
        if index in self.conditioning:
            return Answer((self.conditioning[index].drawn,))
        return self.tracked.get(index)

    def answers(self) -> dict[int, Answer]:
        """What is drawn, by slice, in order."""
        found = ((index, self.answer(index)) for index in sorted({*self.conditioning, *self.tracked}))
        return {index: answer for index, answer in found if answer is not None}

    def seen(self, index: int) -> list[DrawnSlice]:
        """What prompts drew on a slice, then what tracks did."""
        prompted = [self.conditioning[index].drawn] if index in self.conditioning else []
        return prompted + list(self.tracked[index].drawn if index in self.tracked else ())

    def stands(self, start: int, end: int) -> bool:
        """Whether what was tracked through a prompted slice to one that was edited since needs no new run.

        All of it is one track's: where a prompt between them is gone, so is what stood there for a new start.
        """
        direction, step = ("forward", 1) if start < end else ("backward", -1)
        between = [self.tracked.get(index, Answer(())).drawn for index in range(start + step, end, step)]
        distances = [one.distance for drawn in between for one in drawn if one.direction == direction]
        nearest = distances[0] if distances else 0
        is_one_track = distances == list(range(nearest, nearest + len(between)))
        return is_one_track and start not in self.edited and end in self.edited

    def given(self) -> dict[int, Mask]:
        """Masks (rows, columns) that say what is right, by slice."""
        return {index: prompt.mask for index, prompt in self.prompts.items() if prompt.mask is not None}
