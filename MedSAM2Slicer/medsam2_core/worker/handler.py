"""The requests a worker understands: headers and payloads in, headers and payloads out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from medsam2_core.counting import counted
from medsam2_core.errors import WorkerError
from medsam2_core.image.geometry import Geometry, Triple, require_axis
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.slicing import Slicing
from medsam2_core.run.prompts import RunObject
from medsam2_core.run.settings import rows_of
from medsam2_core.stopping import CancelToken
from medsam2_core.worker import fields
from medsam2_core.worker.image_sets import images_from_wire, set_step_to_wire
from medsam2_core.worker.interfaces import MomentsSpec, PropagationSpec, RedrawSpec, SeenVolume, SessionSpec, SetSpec
from medsam2_core.worker.objects import objects_from_wire
from medsam2_core.worker.results import answers_to_wire, step_to_wire
from medsam2_core.worker.rules import rules_from_wire
from medsam2_core.worker.time_steps import time_step_to_wire
from medsam2_core.worker.wire import Buffer, Frame, Header
from medsam2_core.worker.workspace import Notify, Workspace

Reply = tuple[Header, list[Buffer]]
Item = TypeVar("Item")


class Send(Protocol):
    """Sends an event of the request at work."""

    def __call__(self, event: str, header: Header, payloads: Sequence[Buffer] = ()) -> None: ...


class RequestHandler:
    """Reads each request, has the workspace do it, and writes the result."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._kinds: dict[str, Callable[[Frame, CancelToken, Send], Reply]] = {
            "open_model": self._open_model,
            "open_volume": self._open_volume,
            "open_session": self._open_session,
            "look": self._look,
            "predict": self._predict,
            "propagate": self._propagate,
            "redraw": self._redraw,
            "disagreement": self._disagreement,
            "open_set": self._open_set,
            "segment_set": self._segment_set,
            "through_time": self._through_time,
            "close": self._close,
            "status": self._status,
        }

    def handle(self, frame: Frame, cancel: CancelToken, send: Send) -> Reply:
        """The result of a request; steps and notices are sent meanwhile. Raises MedSAM2Error."""
        kind = fields.text(frame.header, "request")
        if kind not in self._kinds:
            raise WorkerError(
                f"The worker does not know the request {kind[:40]!r}: use the same version on both sides."
            )
        return self._kinds[kind](frame, cancel, send)

    def _open_model(self, frame: Frame, _cancel: CancelToken, send: Send) -> Reply:
        name, device = fields.text(frame.header, "model"), fields.text(frame.header, "device")
        image_size = fields.optional_whole(frame.header, "image_size")
        precision = _settings(frame.header, "model")["precision"]
        return self._workspace.open_model(name, device, image_size, precision, _notices(send)), []

    def _open_volume(self, frame: Frame, _cancel: CancelToken, _send: Send) -> Reply:
        key = fields.text(frame.header, "volume")
        self._workspace.open_volume(key, _volume(frame))
        return {}, []

    def _open_session(self, frame: Frame, _cancel: CancelToken, send: Send) -> Reply:
        header = frame.header
        spec = SessionSpec(fields.text(header, "volume"), _axis(header), _settings(header, "session"))
        return self._workspace.open_session(fields.text(header, "session"), spec, _notices(send)), []

    def _look(self, frame: Frame, _cancel: CancelToken, send: Send) -> Reply:
        index = fields.whole(frame.header, "slice_index")
        self._workspace.work(fields.text(frame.header, "session"), lambda opened: opened.look(index), _notices(send))
        return {}, []

    def _predict(self, frame: Frame, _cancel: CancelToken, send: Send) -> Reply:
        key, index = fields.text(frame.header, "session"), fields.whole(frame.header, "slice_index")
        objects = self._objects(frame, key)
        answers = self._workspace.work(key, lambda opened: opened.predict(index, objects), _notices(send))
        payloads: list[Buffer] = []
        return {"masks": answers_to_wire(answers, payloads)}, payloads

    def _propagate(self, frame: Frame, cancel: CancelToken, send: Send) -> Reply:
        header, key = frame.header, fields.text(frame.header, "session")
        objects = self._objects(frame, key)
        settings = _settings(header, "run")
        spec = PropagationSpec(
            fields.optional_whole(header, "first"),
            fields.optional_whole(header, "last"),
            rules_from_wire(fields.mapping(header, "stop"), frame, self._workspace.volume_shape(key)),
            fields.optional_wholes(header, "only"),
            settings.pop("rounds"),
            settings,
            tentative="tentative" in header and fields.flag(header, "tentative"),
        )
        steps = _steps(send, step_to_wire)
        done = self._workspace.work(key, lambda opened: opened.propagate(objects, spec, cancel, steps), _notices(send))
        return done.to_wire(), []

    def _redraw(self, frame: Frame, cancel: CancelToken, send: Send) -> Reply:
        header, key = frame.header, fields.text(frame.header, "session")
        objects = self._objects(frame, key)
        near = fields.optional_whole(header, "near")
        spec = RedrawSpec(fields.whole(header, "object"), _settings(header, "drawing"), near)
        steps = _steps(send, step_to_wire)
        done = self._workspace.work(key, lambda opened: opened.redraw(objects, spec, cancel, steps), _notices(send))
        return done.to_wire(), []

    def _disagreement(self, frame: Frame, _cancel: CancelToken, send: Send) -> Reply:
        key, object_id = fields.text(frame.header, "session"), fields.whole(frame.header, "object")
        found = self._workspace.work(key, lambda opened: opened.disagreement(object_id), _notices(send))
        payloads: list[Buffer] = []
        return found.to_wire(payloads), payloads

    def _open_set(self, frame: Frame, _cancel: CancelToken, send: Send) -> Reply:
        header = frame.header
        seed = fields.optional_whole(header, "seed")
        settings = {"order": fields.text(header, "order"), "memory": fields.text(header, "memory"), "seed": seed}
        spec = SetSpec(images_from_wire(frame), settings)
        self._workspace.open_set(fields.text(header, "set"), spec, _notices(send))
        return {}, []

    def _segment_set(self, frame: Frame, cancel: CancelToken, send: Send) -> Reply:
        key = fields.text(frame.header, "set")
        objects = objects_from_wire(frame, lambda index: self._workspace.image_shape(key, index))
        steps = _steps(send, set_step_to_wire)
        done = self._workspace.work_on_set(key, lambda opened: opened.segment(objects, cancel, steps), _notices(send))
        return done.to_wire(), []

    def _through_time(self, frame: Frame, cancel: CancelToken, send: Send) -> Reply:
        header, axis = frame.header, _axis(frame.header)
        keys = [fields.text({"volumes": key}, "volumes") for key in fields.items(header, "volumes")]
        start = fields.whole(header, "start")
        if not 0 <= start < len(keys):
            raise WorkerError(f"The message starts in moment {start} of {len(keys)}.")
        geometry = self._workspace.volume_geometry(keys[start])
        stop = rules_from_wire(fields.mapping(header, "stop"), frame, geometry.shape_kji)
        course = {**_settings(header, "run"), "stop": stop.turned(SliceOrientation.upright(geometry, axis).turn)}
        del course["rounds"]  # of a run that somebody stopped
        spec = MomentsSpec(keys, start, axis, _settings(header, "session"), course, _settings(header, "drawing"))
        objects = objects_from_wire(frame, lambda _: Slicing(geometry, axis).shape)
        self._workspace.through_time(spec, objects, cancel, _steps(send, time_step_to_wire), _notices(send))
        return {"cancelled": cancel.cancelled}, []

    def _close(self, frame: Frame, _cancel: CancelToken, _send: Send) -> Reply:
        if "session" in frame.header:
            self._workspace.close_session(fields.text(frame.header, "session"))
        elif "set" in frame.header:
            self._workspace.close_set(fields.text(frame.header, "set"))
        else:
            self._workspace.close_volume(fields.text(frame.header, "volume"))
        return {}, []

    def _objects(self, frame: Frame, key: str) -> list[RunObject]:
        """The objects of a request to a session."""
        shape = self._workspace.slice_shape(key)
        return objects_from_wire(frame, lambda _: shape)

    def _status(self, _frame: Frame, _cancel: CancelToken, _send: Send) -> Reply:
        return self._workspace.status(), []


def _notices(send: Send) -> Notify:
    return lambda text: send("notice", {"message": text})


def _steps(send: Send, to_wire: Callable[[Item, list[Buffer]], Header]) -> Callable[[Item], None]:
    """Sends each step of a request, of the kind that `to_wire` writes."""

    def send_step(step: Item) -> None:
        payloads: list[Buffer] = []
        send("step", to_wire(step, payloads), payloads)

    return send_step


def _axis(header: Header) -> int:
    axis = fields.whole(header, "axis")
    require_axis(axis)
    return axis


def _settings(header: Header, part: str) -> Header:
    """The settings of a part, by name."""
    return {row.name: fields.setting(header, row) for row in rows_of(part)}


def _volume(frame: Frame) -> SeenVolume:
    """The volume of a request, its voxels where they came in. Raises WorkerError or VolumeError."""
    header = frame.header
    shape = tuple(int(size) for size in fields.numbers(header, "shape_kji", 3))
    rows = [_triple({"direction_lps": row}, "direction_lps") for row in fields.items(header, "direction_lps")]
    if len(rows) != 3:
        raise WorkerError(f"The message has a direction of {counted(len(rows), 'row')}.")
    k, j, i = shape
    geometry = Geometry(
        (k, j, i), _triple(header, "spacing_ijk"), _triple(header, "origin_lps"), (rows[0], rows[1], rows[2])
    )
    voxels: npt.NDArray[np.uint8] = np.frombuffer(fields.payload(frame, 0), dtype=np.uint8)
    if voxels.size not in (k * j * i, 3 * k * j * i):
        values = counted(voxels.size, "value")
        raise WorkerError(f"The message has {values} for a volume of {k} x {j} x {i}, gray or in color.")
    return SeenVolume(voxels.reshape(shape if voxels.size == k * j * i else (*shape, 3)), geometry)


def _triple(header: Header, name: str) -> Triple:
    first, second, third = fields.numbers(header, name, 3)
    return first, second, third
