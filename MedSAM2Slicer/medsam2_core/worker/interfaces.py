"""What the worker asks of the model's side. `backend` answers with torch; tests answer without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from medsam2_core.arrays import Bytes, Mask
from medsam2_core.directions import ONE
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.run.applied import ChangesPrompts
from medsam2_core.stopping import CancelToken, StopRules
from medsam2_core.worker.image_sets import SetImage
from medsam2_core.worker.wire import Header

if TYPE_CHECKING:
    from medsam2_core.run.report import SliceFacts


@dataclass(frozen=True)
class SeenVolume:
    """A volume as the model sees it: voxels (k, j, i) windowed to uint8, or (k, j, i, 3) in color."""

    voxels: npt.NDArray[np.uint8]
    geometry: Geometry


@dataclass(frozen=True)
class SessionSpec:
    """What a session is opened with: a volume's key, the array axis, and the settings of the part "session"."""

    volume: str
    axis: int
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class PropagationSpec:
    """Where a propagation goes: through slices first <= index < last, with `only` these objects (None: all).

    The region of the stop rules is on the volume's grid (k, j, i). It ends after `rounds` rounds, those of an earlier
    run that was canceled. `settings` are the others of the part "run". A `tentative` one that is canceled is as if it
    had never been asked for, unless who cancels it says to keep what it has done.
    """

    first: int | None
    last: int | None
    stop: StopRules
    only: Sequence[int] | None
    rounds: int | None
    settings: Mapping[str, Any]
    tentative: bool = False


@dataclass(frozen=True)
class RedrawSpec:
    """How an object is drawn again: with the settings of the part "drawing", the slice `near` first.

    See `session.VolumeSession.redraw`.
    """

    object_id: int
    drawing: Mapping[str, Any]
    near: int | None = None


@dataclass(frozen=True)
class MomentsSpec:
    """Volumes of several moments by their keys, and the moment `start` in which objects are known.

    `axis` is the array axis that slices are stacked along; the others are settings of the parts "session", "run" (with
    the stop rules) and "drawing".
    """

    volumes: Sequence[str]
    start: int
    axis: int
    session: Mapping[str, Any]
    course: Mapping[str, Any]
    drawing: Mapping[str, Any]


@dataclass(frozen=True)
class SetSpec:
    """What a set is opened with: its images, and the arguments `order`, `memory` and `seed` of `ImageSetSession`."""

    images: Sequence[SetImage]
    settings: Mapping[str, Any]


class Prediction(Protocol):
    """One object on one slice: its mask (rows, columns), predicted IoU, and the logit of being there."""

    @property
    def mask(self) -> Mask: ...
    @property
    def confidence(self) -> float: ...
    @property
    def object_score(self) -> float: ...


class SessionStep(Protocol):
    """The objects that reached a slice; see `session_base.PropagationStep`."""

    @property
    def slice_index(self) -> int: ...
    @property
    def direction(self) -> str: ...
    @property
    def masks(self) -> Mapping[int, Mask]: ...
    @property
    def confidence(self) -> Mapping[int, float]: ...
    @property
    def object_score(self) -> Mapping[int, float]: ...


class FoundMoment(Protocol):
    """The objects in a moment; see `moments.Moment`."""

    @property
    def index(self) -> int: ...
    @property
    def masks(self) -> Mapping[int, Mask]: ...
    @property
    def confidence(self) -> Mapping[int, float]: ...


class KeepsFeatures(ChangesPrompts, Protocol):
    """What the worker asks of any session."""

    @property
    def encoder_runs(self) -> int: ...
    @property
    def encoder_counts(self) -> dict[str, int]: ...
    @property
    def cache_bytes(self) -> int: ...

    def limit_cache(self, max_bytes: int) -> None: ...


class SetSession(KeepsFeatures, Protocol):
    """The part of `image_set.ImageSetSession` that the worker uses."""

    def steps(
        self, cancel: CancelToken | None = None, progress: Callable[[int, int], None] = ...
    ) -> Iterator[SessionStep]: ...

    def labels(self, index: int) -> npt.NDArray[np.integer[Any]]: ...

    def certainty(self, index: int) -> Mapping[int, float]: ...


class ModelSession(KeepsFeatures, Protocol):
    """The part of `session.VolumeSession` that the worker uses."""

    @property
    def field_of_view(self) -> str: ...

    def look(self, slice_index: int) -> None: ...

    def snapshot(self) -> Callable[[], None]: ...

    def predict_slice(self, slice_index: int) -> Mapping[int, Prediction]: ...

    def propagate(
        self,
        first: int | None = None,
        last: int | None = None,
        direction: str = "both",
        stop: StopRules | None = None,
        cancel: CancelToken | None = None,
        progress: Callable[[int, int], None] | None = None,
        objects: Sequence[int] | None = None,
        directions: str = ONE,
    ) -> Iterator[SessionStep]: ...

    def redraw(
        self,
        object_id: int,
        threshold: float = 0.5,
        smoothing_mm: float = 0.0,
        largest: str = "off",
        fill_holes: str = "off",
        near: int | None = None,
    ) -> Iterator[SessionStep]: ...

    def disagreement(self, object_id: int) -> Iterator[tuple[int, Bytes]]: ...

    def results(self, object_id: int) -> Mapping[int, SliceFacts]: ...

    def stops(self, object_id: int) -> Mapping[str, str]: ...


class Backend(Protocol):
    """One model on one device."""

    def open_model(self, name: str, device: str, image_size: int | None, precision: str) -> Header:
        """Load a model in place of the one before; facts about it. Raises WeightsError or DeviceError."""

    def open_session(self, spec: SessionSpec, volume: SeenVolume, orientation: SliceOrientation) -> ModelSession:
        """A `ModelSession` on the volume's slices, turned."""

    def open_set(self, spec: SetSpec) -> SetSession:
        """A `SetSession` on the images."""

    def onward(
        self,
        spec: MomentsSpec,
        volumes: Sequence[SeenVolume],
        orientation: SliceOrientation,
        known: Mapping[int, Mask],
        cancel: CancelToken,
    ) -> Iterator[FoundMoment]:
        """Carry objects from their masks on turned slices in one moment to all others; see `moments.onward`."""

    def cache_budget(self) -> int:
        """Bytes that the image features of all sessions together may take."""

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether the error says that no memory is left."""

    def release(self) -> None:
        """Give memory that nothing uses back to the device."""
