"""Requests as the client writes them, and how it reads their answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medsam2_core import errors
from medsam2_core.errors import MedSAM2Error, WorkerError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import RunObject
from medsam2_core.stopping import StopRules
from medsam2_core.worker import fields
from medsam2_core.worker.image_sets import SetAnswered, SetImage, images_to_wire
from medsam2_core.worker.objects import objects_to_wire
from medsam2_core.worker.results import Grid
from medsam2_core.worker.rules import rules_to_wire
from medsam2_core.worker.wire import Buffer, Frame, Header
from MedSAM2SlicerLib.worker.transports import Growing, Payload


class Volume(Protocol):
    """The part of `volumes.PreparedVolume` that the worker is sent: voxels as the model sees them."""

    @property
    def gray(self) -> npt.NDArray[np.uint8]: ...
    @property
    def geometry(self) -> Geometry: ...
    @property
    def window(self) -> Window: ...


@dataclass(frozen=True)
class Request:
    """A message to the worker without its id, and what becomes of the result."""

    header: Header
    payloads: Sequence[Payload] = ()
    read: Callable[[Frame], Any] = field(default=lambda frame: frame.header)


STATUS = Request({"request": "status"})


@dataclass(frozen=True)
class ModelWish:
    """A model by its catalog name or path on the worker's computer, and how it is to be loaded there."""

    name: str
    device: str = "auto"
    imageSize: int | None = None
    precision: str = "auto"

    def isServedBy(self, opened: ModelWish | None, facts: Header) -> bool:
        """Whether a model that was `opened`, of which the worker said `facts`, is the one.

        One that chose its precision itself serves who wants just that.
        """
        if opened is None:
            return False
        return self in (opened, replace(opened, precision=facts.get("precision", opened.precision)))


def openModel(wish: ModelWish) -> Request:
    """Have the worker load a model."""
    header = {"model": wish.name, "device": wish.device, "image_size": wish.imageSize, "precision": wish.precision}
    return Request({"request": "open_model", **header})


def openVolume(key: str, volume: Volume) -> Request:
    """A volume; its voxels are not copied, and made while they are sent where that is how it has them."""
    geometry, window = volume.geometry, volume.window
    header = {
        "request": "open_volume",
        "volume": key,
        "shape_kji": list(geometry.shape_kji),
        "spacing_ijk": list(geometry.spacing_ijk),
        "origin_lps": list(geometry.origin_lps),
        "direction_lps": [list(row) for row in geometry.direction_lps],
        "window": {"lower": float(window.lower), "upper": float(window.upper), "name": window.name},
    }
    growing: Growing | None = getattr(volume, "growing", None)
    return Request(header, [growing or np.ascontiguousarray(volume.gray).data.cast("B")])


def predict(key: str, sliceIndex: int, objects: Sequence[RunObject]) -> Request:
    """Masks on one slice; how to read them is added by who knows the slice's size."""
    payloads: list[Buffer] = []
    header = {"request": "predict", "session": key, "slice_index": int(sliceIndex)}
    return Request({**header, "objects": objects_to_wire(objects, payloads)}, payloads)


def propagate(
    key: str,
    objects: Sequence[RunObject],
    span: tuple[int, int],
    stop: StopRules,
    only: Collection[int] | None,
    settings: Mapping[str, Any],
    tentative: bool = False,
) -> Request:
    """Masks on the slices span[0] <= index < span[1], or less, of `only` some objects (None: all).

    A `tentative` one that is canceled leaves nothing in the worker, unless it is to keep what it has.
    """
    payloads: list[Buffer] = []
    header = {
        "request": "propagate",
        "session": key,
        "objects": objects_to_wire(objects, payloads),
        "first": int(span[0]),
        "last": int(span[1]),
        "stop": rules_to_wire(stop, payloads),
        "only": None if only is None else sorted(only),
        "tentative": tentative,
        **settings,
    }
    return Request(header, payloads)


def look(key: str, sliceIndex: int) -> Request:
    """Nothing but that the worker sees a slice ahead of its first prompt."""
    return Request({"request": "look", "session": key, "slice_index": int(sliceIndex)})


def redraw(
    key: str, objects: Sequence[RunObject], objectId: int, drawing: Mapping[str, Any], near: int | None = None
) -> Request:
    """Masks of one object from kept logits, the slice `near` first."""
    payloads: list[Buffer] = []
    header = {
        "request": "redraw",
        "session": key,
        "objects": objects_to_wire(objects, payloads),
        "object": objectId,
        "near": near,
        **drawing,
    }
    return Request(header, payloads)


def disagreement(key: str, objectId: int) -> Request:
    """Where three axes disagreed on an object."""
    return Request({"request": "disagreement", "session": key, "object": objectId})


def openSet(key: str, images: Sequence[SetImage], settings: Mapping[str, Any]) -> Request:
    """A set of images; their pixels are not copied."""
    payloads: list[Buffer] = []
    header = {"request": "open_set", "set": key, "images": images_to_wire(images, payloads)}
    return Request({**header, **settings}, payloads)


def segmentSet(key: str, objects: Sequence[RunObject]) -> Request:
    """Masks in all images of a set; a prompt's slice is an image."""
    payloads: list[Buffer] = []
    header = {"request": "segment_set", "set": key, "objects": objects_to_wire(objects, payloads)}
    return Request(header, payloads, lambda frame: SetAnswered.from_wire(frame.header))


@dataclass(frozen=True)
class TimeWish:
    """How objects are carried through time: the volumes' keys, the moment they are known in, and the array axis.

    `settings` are those of the parts "session", "run" and "drawing" that are numbers or text.
    """

    volumeKeys: Sequence[str]
    start: int
    axis: int
    stop: StopRules
    settings: Mapping[str, Any]


def throughTime(wish: TimeWish, objects: Sequence[RunObject]) -> Request:
    """Masks in all other moments; the result says whether it was canceled."""
    payloads: list[Buffer] = []
    header = {
        "request": "through_time",
        "volumes": list(wish.volumeKeys),
        "start": wish.start,
        "axis": wish.axis,
        "objects": objects_to_wire(objects, payloads),
        "stop": rules_to_wire(wish.stop, payloads),
        **wish.settings,
    }
    return Request(header, payloads, lambda frame: fields.flag(frame.header, "cancelled"))


def grid(volume: Volume, axis: int) -> Grid:
    """Number of slices along an array axis, and their rows and columns."""
    rows, columns = (size for place, size in enumerate(volume.geometry.shape_kji) if place != axis)
    return volume.geometry.shape_kji[axis], rows, columns


def typedError(header: Header) -> MedSAM2Error:
    """The error that a worker sent, of the class it names; a WorkerError if there is no such class."""
    message = str(header.get("message") or "The worker reported an error without a message.")
    kind = getattr(errors, str(header.get("error")), None)
    if isinstance(kind, type) and issubclass(kind, MedSAM2Error):
        return kind(message)
    return WorkerError(message)
