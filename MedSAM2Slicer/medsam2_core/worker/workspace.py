"""What a worker keeps between requests: the model, volumes and sessions; and the work on them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from medsam2_core.arrays import Mask
from medsam2_core.errors import DeviceError, WorkerError
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.slicing import Slicing
from medsam2_core.run.applied import AppliedPrompts
from medsam2_core.run.prompts import RunObject
from medsam2_core.run.sequence import RoundLimit
from medsam2_core.stopping import CancelToken
from medsam2_core.worker.disagreement import DisagreementMap
from medsam2_core.worker.image_sets import shape_in
from medsam2_core.worker.interfaces import (
    Backend,
    ModelSession,
    MomentsSpec,
    PropagationSpec,
    RedrawSpec,
    SeenVolume,
    SessionSpec,
    SessionStep,
    SetSession,
    SetSpec,
)
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.open_set import OpenSet
from medsam2_core.worker.results import ObjectAnswer, ObjectRecord, Propagated, SliceRecord, Step
from medsam2_core.worker.through_time import through_time
from medsam2_core.worker.time_steps import TimeStep
from medsam2_core.worker.wire import Header

Value = TypeVar("Value")
Item = TypeVar("Item")
Notify = Callable[[str], None]

_SMALL_CACHE = 64 << 20  # bytes, for all sessions together, once memory has run out


class OpenSession:
    """A session on the upright slices of a volume. What goes in and out of it is of stored slices."""

    def __init__(self, backend: Backend, spec: SessionSpec, volume: SeenVolume) -> None:
        self._pixel_mm2 = math.prod(Slicing(volume.geometry, spec.axis).pixel_mm)
        self._orientation = SliceOrientation.upright(volume.geometry, spec.axis)
        self.session: ModelSession = backend.open_session(spec, volume, self._orientation)
        self._applied = AppliedPrompts(self.session, self._orientation)

    def predict(self, slice_index: int, objects: Sequence[RunObject]) -> list[ObjectAnswer]:
        """Masks of these objects on a slice, those that have one. Raises PromptError."""
        self._applied.change_to(objects)
        found = self.session.predict_slice(slice_index)
        return [
            ObjectAnswer(label, self._packed(found[label].mask), found[label].confidence, found[label].object_score)
            for label in (item.segment.label for item in objects)
            if label in found
        ]

    def look(self, slice_index: int) -> None:
        """See a slice ahead of its first prompt. Raises PromptError."""
        self.session.look(slice_index)

    def propagate(
        self, objects: Sequence[RunObject], spec: PropagationSpec, cancel: CancelToken, send: Callable[[Step], None]
    ) -> Propagated:
        """Carry the objects through the slices, sending each step. Raises PromptError or VolumeError."""
        started, before = time.perf_counter(), self.session.encoder_counts
        self._applied.change_to(objects)
        bring_back = self.session.snapshot() if spec.tentative else None
        limit, stop = RoundLimit(spec.rounds, cancel), spec.stop.turned(self._orientation.turn)
        course = {"stop": stop, "objects": spec.only, **spec.settings}
        for step in self.session.propagate(spec.first, spec.last, cancel=limit, progress=limit.count, **course):
            send(self._step(step, limit.done, limit.planned))
        ran = [item for item in objects if spec.only is None or item.segment.label in spec.only]
        records = tuple(self._record(item.segment.label) if item.prompts else _nothing(item) for item in ran)
        canceled = cancel.cancelled  # read once: it may change meanwhile
        undo = bring_back if canceled and not cancel.keeps else None
        if undo is not None:
            undo()
        seconds, encoder = time.perf_counter() - started, self.session.encoder_counts
        counts = {name: count - before[name] for name, count in encoder.items()}
        return Propagated(canceled, seconds, records, limit.rounds_if_stopped, counts, undo is not None)

    def redraw(
        self, objects: Sequence[RunObject], spec: RedrawSpec, cancel: CancelToken, send: Callable[[Step], None]
    ) -> Propagated:
        """Draw one of the objects again, sending each step; areas are those drawn. Raises PromptError."""
        started = time.perf_counter()
        self._applied.change_to(objects)
        areas: dict[int, float] = {}
        for step in self.session.redraw(spec.object_id, **spec.drawing, near=spec.near):
            if cancel.cancelled:
                break
            areas[step.slice_index] = int(step.masks[spec.object_id].sum()) * self._pixel_mm2
            send(self._step(step, 0, 0))
        record = self._record(spec.object_id)
        slices = tuple(replace(one, area_mm2=areas.get(one.slice_index, one.area_mm2)) for one in record.slices)
        record = replace(record, slices=slices)
        return Propagated(cancel.cancelled, time.perf_counter() - started, (record,))

    def disagreement(self, object_id: int) -> DisagreementMap:
        """Where three axes disagreed on an object. Raises PromptError if they were not asked."""
        return DisagreementMap.of(
            (index, self._orientation.turn_slice_back(one)) for index, one in self.session.disagreement(object_id)
        )

    def _step(self, step: SessionStep, done: int, planned: int) -> Step:
        answers = tuple(
            ObjectAnswer(label, self._packed(mask), step.confidence[label], step.object_score[label])
            for label, mask in step.masks.items()
        )
        return Step(step.slice_index, step.direction, done, planned, answers)

    def _record(self, label: int) -> ObjectRecord:
        slices = tuple(
            SliceRecord(
                index, facts.confidence, facts.object_score, facts.direction, facts.area_mm2, facts.disagreement
            )
            for index, facts in self.session.results(label).items()
        )
        return ObjectRecord(label, dict(self.session.stops(label)), slices)

    def _packed(self, mask: Mask) -> PackedMask:
        return PackedMask.of(self._orientation.turn_slice_back(mask))


class Workspace:
    """The opened model, volumes, sessions and sets by the client's keys.

    Where memory ran out on the graphics card, model, sessions and sets are closed, to be opened on the processor by the
    task that lacked it, or by the first later one for which there is room; so a key that is known stays known.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model: Header = {}
        self._asked: tuple[str, int | None, str] = ("", None, "")
        self._device = ""
        self._volumes: dict[str, SeenVolume] = {}
        self._session_specs: dict[str, SessionSpec] = {}
        self._sessions: dict[str, OpenSession] = {}
        self._set_specs: dict[str, SetSpec] = {}
        self._sets: dict[str, OpenSet] = {}
        self._has_moved = False  # to the processor, where not everything is open yet
        self._short_of_memory = False

    def open_model(self, name: str, device: str, image_size: int | None, precision: str, notify: Notify) -> Header:
        """Load a model, closing sessions and sets of the one before; facts of it. Raises WeightsError, DeviceError."""
        self._session_specs.clear()
        self._set_specs.clear()
        self._close_all()
        self._has_moved = False
        self._asked, self._device, self._short_of_memory = (name, image_size, precision), device, False
        self._model = self._with_room(self._load, notify)
        return self._model

    def open_volume(self, key: str, volume: SeenVolume) -> None:
        """Keep a volume; one of the same key goes, with its sessions."""
        self.close_volume(key)
        self._volumes[key] = volume

    def open_session(self, key: str, spec: SessionSpec, notify: Notify) -> Header:
        """Open a session in place of one of the same key; its settings. Raises PromptError or VolumeError."""
        volume = _known(self._volumes, spec.volume, "volume")
        self._forget_session(key)
        self._sessions[key] = self._with_room(lambda: OpenSession(self._backend, spec, volume), notify)
        self._session_specs[key] = spec
        self._share_memory()
        seen = self._sessions[key].session.field_of_view
        return {**spec.settings, "field_of_view": seen, "axis": spec.axis}

    def open_set(self, key: str, spec: SetSpec, notify: Notify) -> None:
        """Open a set of images in place of one of the same key. Raises PromptError or VolumeError."""
        self._forget_set(key)
        self._sets[key] = self._with_room(lambda: OpenSet(self._backend, spec), notify)
        self._set_specs[key] = spec
        self._share_memory()

    def image_shape(self, key: str, index: int) -> tuple[int, int]:
        """Rows and columns of an image of a set. Raises PromptError where there is none."""
        return shape_in(_known(self._set_specs, key, "set").images, index)

    def work_on_set(self, key: str, task: Callable[[OpenSet], Value], notify: Notify) -> Value:
        """Do a task with a set, as `work` with a session."""
        return self._with_room(lambda: task(_known(self._sets, key, "set")), notify)

    def through_time(
        self,
        spec: MomentsSpec,
        objects: Sequence[RunObject],
        cancel: CancelToken,
        send: Callable[[TimeStep], None],
        notify: Notify,
    ) -> None:
        """Carry objects through volumes of several moments, see `through_time.through_time`."""
        volumes = [_known(self._volumes, key, "volume") for key in spec.volumes]
        self._with_room(lambda: through_time(self._backend, spec, volumes, objects, cancel, send), notify)

    def close_set(self, key: str) -> None:
        """Forget a set."""
        self._forget_set(key)
        self._share_memory()

    def slice_shape(self, key: str) -> tuple[int, int]:
        """Rows and columns of a session's stored slices."""
        spec = _known(self._session_specs, key, "session")
        return Slicing(self._volumes[spec.volume].geometry, spec.axis).shape

    def volume_geometry(self, key: str) -> Geometry:
        """The grid of a volume."""
        return _known(self._volumes, key, "volume").geometry

    def volume_shape(self, key: str) -> tuple[int, int, int]:
        """Voxels along k, j, i of a session's volume."""
        return self._volumes[_known(self._session_specs, key, "session").volume].geometry.shape_kji

    def work(self, key: str, task: Callable[[OpenSession], Value], notify: Notify) -> Value:
        """Do a task with a session; again with less memory if there is none left. Raises DeviceError."""
        return self._with_room(lambda: task(_known(self._sessions, key, "session")), notify)

    def close_session(self, key: str) -> None:
        """Forget a session."""
        self._forget_session(key)
        self._share_memory()

    def close_volume(self, key: str) -> None:
        """Forget a volume and its sessions."""
        self._volumes.pop(key, None)
        for name in [name for name, spec in self._session_specs.items() if spec.volume == key]:
            self._forget_session(name)
        self._share_memory()

    def status(self) -> Header:
        """What is open; memory in bytes."""
        sessions = self._model_sessions()
        return {
            "model": self._model or None,
            "volumes": sorted(self._volumes),
            "sessions": sorted(self._session_specs),
            "sets": sorted(self._set_specs),
            "volume_bytes": sum(volume.voxels.nbytes for volume in self._volumes.values()),
            "cache_bytes": sum(session.cache_bytes for session in sessions),
            "encoder_runs": sum(session.encoder_runs for session in sessions),
        }

    def _model_sessions(self) -> list[ModelSession | SetSession]:
        volumes = [opened.session for opened in self._sessions.values()]
        return [*volumes, *(opened.session for opened in self._sets.values())]

    def _load(self) -> Header:
        name, image_size, precision = self._asked
        facts = self._backend.open_model(name, self._device, image_size, precision)
        self._device = facts["device"]
        return facts

    def _share_memory(self) -> None:
        sessions = self._model_sessions()
        if not sessions:
            return
        budget = _SMALL_CACHE if self._short_of_memory else self._backend.cache_budget()
        for session in sessions:
            session.limit_cache(budget // len(sessions))

    def _with_room(self, task: Callable[[], Value], notify: Notify) -> Value:
        while True:
            try:
                self._open_moved()
                return task()
            except (MemoryError, RuntimeError) as error:  # RuntimeError is what torch raises
                reason = self._what_lacked(error)
            # Only here the failed task's own tensors are gone.
            notify(self._make_room(reason))

    def _what_lacked(self, error: MemoryError | RuntimeError) -> str:
        """What the device says of the memory that there is none of. Raises any other error again."""
        if not self._backend.is_out_of_memory(error):
            raise error
        return str(error).splitlines()[0] if str(error) else "no more details"

    def _make_room(self, reason: str) -> str:
        """Free memory, the least painful way that is left, and say how. Raises DeviceError if there is none."""
        self._backend.release()
        if self._model_sessions() and not self._short_of_memory:
            self._short_of_memory = True
            self._share_memory()
            self._backend.release()
            return "Memory ran out: fewer slices are kept ready from now on, so going back to a slice takes longer."
        if self._device == "cpu":
            raise _no_memory(reason)
        self._device = "cpu"
        if self._model:
            self._close_all()
            self._has_moved = True
        return "The graphics card's memory ran out: the model runs on the processor from now on, which is slower."

    def _open_moved(self) -> None:
        """Load the model again and reopen all sessions and sets, if they had to move; what they had drawn is gone."""
        if not self._has_moved:
            return
        self._model = self._model or self._load()
        for key, spec in self._session_specs.items():
            if key not in self._sessions:
                self._sessions[key] = OpenSession(self._backend, spec, self._volumes[spec.volume])
        for key, images in self._set_specs.items():
            if key not in self._sets:
                self._sets[key] = OpenSet(self._backend, images)
        self._has_moved = False
        self._share_memory()

    def _close_all(self) -> None:
        self._sessions.clear()
        self._sets.clear()
        self._model = {}

    def _forget_session(self, key: str) -> None:
        self._sessions.pop(key, None)
        self._session_specs.pop(key, None)

    def _forget_set(self, key: str) -> None:
        self._sets.pop(key, None)
        self._set_specs.pop(key, None)


def _known(items: dict[str, Item], key: str, kind: str) -> Item:
    if key not in items:
        raise WorkerError(f"The worker has no {kind} {key!r}: open it first.")
    return items[key]


def _no_memory(reason: str) -> DeviceError:
    return DeviceError(f"Memory ran out ({reason}): use a smaller model or image size, or close programs.")


def _nothing(item: RunObject) -> ObjectRecord:
    """An object without prompts is forgotten by a propagation."""
    return ObjectRecord(item.segment.label, {}, ())
