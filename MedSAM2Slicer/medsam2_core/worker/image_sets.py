"""Sets of images on the wire: the images with what is asked of them, and the answers to each as they are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.counting import counted
from medsam2_core.errors import PromptError, WorkerError
from medsam2_core.worker import fields
from medsam2_core.worker.objects import SliceShape
from medsam2_core.worker.results import ObjectAnswer, answers_from_wire, answers_to_wire
from medsam2_core.worker.wire import Buffer, Frame, Header


@dataclass(frozen=True, eq=False)
class SetImage:
    """An image as the model sees it: uint8 (rows, columns), or (rows, columns, 3) in color; spacing (y, x) in mm."""

    pixels: npt.NDArray[np.uint8]
    spacing: tuple[float, float] = (1.0, 1.0)

    @property
    def shape(self) -> SliceShape:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True)
class SetStep:
    """The answers to an image, None while nothing but progress is told: `done` of `planned` looks at an image.

    The confidence of an answer is `ImageSetSession.certainty`; of overlapping masks the likelier one has a pixel.
    """

    image_index: int | None
    done: int
    planned: int
    answers: tuple[ObjectAnswer, ...] = ()

    @property
    def doubt(self) -> float:
        """How unsure the least sure answer is, 0 to 1."""
        return 1.0 - min((answer.confidence for answer in self.answers), default=1.0)


@dataclass(frozen=True)
class SetAnswered:
    """How the answering of a set ended; canceled, the images that were done are answered."""

    cancelled: bool
    seconds: float

    def to_wire(self) -> Header:
        """The fields of a header."""
        return {"cancelled": self.cancelled, "seconds": self.seconds}

    @staticmethod
    def from_wire(header: Header) -> SetAnswered:
        """Read a result. Raises WorkerError."""
        return SetAnswered(fields.flag(header, "cancelled"), fields.number(header, "seconds"))


def images_to_wire(images: Sequence[SetImage], payloads: list[Buffer]) -> list[Header]:
    """Images for a header; their pixels are added to `payloads`, which nothing else may be in."""
    payloads += [np.ascontiguousarray(image.pixels).data.cast("B") for image in images]
    return [{"shape": list(image.pixels.shape), "spacing_yx": list(image.spacing)} for image in images]


def images_from_wire(frame: Frame) -> list[SetImage]:
    """The images of a request, their pixels where they came in. Raises WorkerError."""
    return [_image(item, frame, place) for place, item in enumerate(fields.objects(frame.header, "images"))]


def shape_in(images: Sequence[SetImage], index: int) -> SliceShape:
    """Rows and columns of an image by its index. Raises PromptError where there is none."""
    if not 0 <= index < len(images):
        raise PromptError(f"Image {index} does not exist: images go from 0 to {len(images) - 1}.")
    return images[index].shape


def set_step_to_wire(step: SetStep, payloads: list[Buffer]) -> Header:
    """The fields of a header; masks are added to `payloads`."""
    masks = answers_to_wire(step.answers, payloads)
    return {"image_index": step.image_index, "done": step.done, "planned": step.planned, "masks": masks}


def set_step_from_wire(frame: Frame, shapes: Sequence[SliceShape]) -> SetStep:
    """Read a step on images of these rows and columns. Raises WorkerError."""
    header = frame.header
    index = fields.optional_whole(header, "image_index")
    done, planned = fields.whole(header, "done"), fields.whole(header, "planned")
    if index is None:
        return SetStep(None, done, planned)
    if not 0 <= index < len(shapes):
        raise WorkerError(f"A message came about image {index} of {len(shapes)}.")
    return SetStep(index, done, planned, answers_from_wire(frame, (len(shapes), *shapes[index])))


def _image(item: Header, frame: Frame, place: int) -> SetImage:
    shape = _shape(fields.items(item, "shape"))
    y, x = fields.numbers(item, "spacing_yx", 2)
    pixels: npt.NDArray[np.uint8] = np.frombuffer(fields.payload(frame, place), dtype=np.uint8)
    if pixels.size != np.prod(shape):
        raise WorkerError(f"The message has {counted(pixels.size, 'value')} for image {place} of the shape {shape}.")
    return SetImage(pixels.reshape(shape), (y, x))


def _shape(sizes: list[Any]) -> tuple[int, ...]:
    shape = tuple(fields.whole({"shape": size}, "shape") for size in sizes)
    in_color = len(shape) == 3 and shape[2] == 3
    if min(shape, default=0) < 1 or not (len(shape) == 2 or in_color):
        raise WorkerError(f"The message has an image of the shape {shape}.")
    return shape
