"""The model's side of the worker, with torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from medsam2_core import free_memory
from medsam2_core.arrays import Mask
from medsam2_core.errors import WorkerError
from medsam2_core.image.orientation import SliceOrientation
from medsam2_core.image.pixels import ImageFacts
from medsam2_core.image.window import AS_GIVEN
from medsam2_core.image_set import ImageSetSession
from medsam2_core.model import SAM2
from medsam2_core.model.precision import precision_name
from medsam2_core.moments import Moment, onward, stack_opener
from medsam2_core.session import VolumeSession
from medsam2_core.stopping import CancelToken
from medsam2_core.weights.loading import load_model
from medsam2_core.weights.model_file import find_model
from medsam2_core.worker.interfaces import MomentsSpec, SeenVolume, SessionSpec, SetSpec
from medsam2_core.worker.wire import Header


class TorchBackend:
    """One model of the catalog, or of a file, on one device; see `interfaces.Backend`."""

    def __init__(self) -> None:
        self._model: SAM2 | None = None

    def open_model(self, name: str, device: str, image_size: int | None, precision: str) -> Header:
        self._model = None  # two at a time may not fit
        self.release()
        file = find_model(name)
        sha256 = file.sha256()
        self._model = load_model(file.source, device, image_size, precision)
        return {
            "name": file.name,
            "sha256": sha256,
            "image_size": self._model.config.image_size,
            "device": self._model.device.type,
            "precision": precision_name(self._model),
            "field_of_view": self._model.config.field_of_view,
            "parameters": sum(weight.numel() for weight in self._model.parameters()),
        }

    def open_session(self, spec: SessionSpec, volume: SeenVolume, orientation: SliceOrientation) -> VolumeSession:
        return VolumeSession(
            self._opened(),
            orientation.turn(volume.voxels),
            spacing=orientation.turn_spacing(volume.geometry.spacing_kji),
            axis=0,
            window=AS_GIVEN,
            across=orientation.across,
            **spec.settings,
        )

    def open_set(self, spec: SetSpec) -> ImageSetSession:
        facts = [ImageFacts.of(image.pixels, AS_GIVEN, image.spacing) for image in spec.images]
        return ImageSetSession(self._opened(), [image.pixels for image in spec.images], facts=facts, **spec.settings)

    def onward(
        self,
        spec: MomentsSpec,
        volumes: Sequence[SeenVolume],
        orientation: SliceOrientation,
        known: Mapping[int, Mask],
        cancel: CancelToken,
    ) -> Iterator[Moment]:
        turned = [orientation.turn(volume.voxels) for volume in volumes]
        spacing = orientation.turn_spacing(volumes[spec.start].geometry.spacing_kji)
        stacks = stack_opener(self._opened(), turned, spacing, AS_GIVEN, across=orientation.across, **spec.session)
        first = Moment(spec.start, known, dict.fromkeys(known, 1.0))
        return onward(stacks, first, len(turned), cancel, spec.course, spec.drawing)

    def cache_budget(self) -> int:
        return free_memory.cache_budget(self._opened().device)

    def is_out_of_memory(self, error: Exception) -> bool:
        return free_memory.is_out_of_memory(error)

    def release(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _opened(self) -> SAM2:
        if self._model is None:
            raise WorkerError("The worker has no model yet: open one first.")
        return self._model
