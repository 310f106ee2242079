"""Programs that track an object through slices from the same prompts: ours, the reference, and transformers'."""

from __future__ import annotations

import contextlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import medsam2_core as m2
from medsam2_core.image.region import Region
from medsam2_core.image.window import AS_GIVEN
from medsam2_core.model import SAM2
from medsam2_core.model.precision import multiplies_faster, set_precision
from medsam2_core.speed.steps import wait_for
from sam2_reference import build_reference, reference_state

Gray = npt.NDArray[np.uint8]
Point = tuple[float, float]
Box = tuple[float, float, float, float]

CLICKED = 1
"""The object that clicks are of."""

OURS_SHORT = "ours, bfloat16"

_SCORE_BIAS = "sam_mask_decoder.pred_obj_score_head.layers.2.bias"


class Contender(ABC):
    """A model on a device with a volume (slices, rows, columns). Masks come to the host, at the volume's resolution."""

    def __init__(self, config: str, image_size: int, device: str) -> None:
        self.image_size, self.device = image_size, torch.device(device)
        self._load(config)

    @abstractmethod
    def _load(self, config: str) -> None: ...

    @abstractmethod
    def open(self, volume: Gray) -> None:
        """Start over with a volume."""

    @abstractmethod
    def click(self, index: int, points: list[Point]) -> None:
        """Answer clicks on the object on a slice, which replace those before."""

    @abstractmethod
    def box(self, object_id: int, index: int, box: Box) -> None:
        """Prompt an object with a box."""

    @abstractmethod
    def propagate(self, start: int) -> int:
        """Carry the objects from the prompted slice to both ends of the volume; the pixels drawn."""

    @abstractmethod
    def correct(self, index: int, point: Point, start: int) -> int:
        """Add a click on a slice and redraw the slices from the prompted one to the last; the pixels drawn."""

    def _seen(self, volume: Gray) -> torch.Tensor:
        """Slices (n, S, S) as models see them, in [0, 1]."""
        whole = Region.whole(*volume.shape[1:])
        return torch.stack([whole.cut(torch.from_numpy(one).float() / 255, self.image_size) for one in volume])


def build_ours(config: str, image_size: int) -> SAM2:
    """Our model with random weights, always the same, that finds its objects on every slice."""
    torch.manual_seed(0)
    model = m2.build_model(config, image_size).requires_grad_(False)
    model.state_dict()[_SCORE_BIAS].fill_(8)
    return model


class Ours(Contender):
    """The session of this repository, with SAM 2's own memory and view, in float32."""

    precision = "float32"

    def _load(self, config: str) -> None:
        self._model = set_precision(build_ours(config, self.image_size).to(self.device), self.precision)

    def open(self, volume: Gray) -> None:
        self._session = m2.VolumeSession(self._model, volume, window=AS_GIVEN, memory="recency", field_of_view="whole")

    def click(self, index: int, points: list[Point]) -> None:
        with contextlib.suppress(m2.PromptError):  # the first one: there is no object yet
            self._session.remove_prompts(CLICKED, index)
        self._session.add_points(CLICKED, index, points, [1] * len(points))
        _ = self._session.predict_slice(index)[CLICKED].mask

    def box(self, object_id: int, index: int, box: Box) -> None:
        self._session.add_box(object_id, index, box)

    def propagate(self, start: int) -> int:
        return self._drawn()

    def correct(self, index: int, point: Point, start: int) -> int:
        self._session.add_points(CLICKED, index, [point], [1])
        return self._drawn(first=start)

    def _drawn(self, first: int | None = None) -> int:
        steps = self._session.propagate(first, stop=m2.StopRules(absent_slices=None))
        return sum(int(mask.sum()) for step in steps for mask in step.masks.values())


class OursInBfloat16(Ours):
    """The same as it runs with `--precision bfloat16`."""

    precision = "bfloat16"


class Reference(Contender):
    """PyPI's sam2 as it is; on the way back it also remembers slices of the way forth."""

    def _load(self, config: str) -> None:
        self._predictor: Any = build_reference(config, self.image_size)
        self._predictor.load_state_dict(build_ours(config, self.image_size).state_dict(), strict=True)
        self._predictor.requires_grad_(False).to(self.device)

    def open(self, volume: Gray) -> None:
        self._state = reference_state(volume, self._seen(volume), str(self.device))

    def click(self, index: int, points: list[Point]) -> None:
        self._click(index, points, clear=True)

    def box(self, object_id: int, index: int, box: Box) -> None:
        with self._precision():
            self._predictor.add_new_points_or_box(self._state, index, object_id, box=np.array(box, np.float32))

    def propagate(self, start: int) -> int:
        return self._drawn(start, reverse=False) + self._drawn(start, reverse=True)

    def correct(self, index: int, point: Point, start: int) -> int:
        self._click(index, [point], clear=False)
        return self._drawn(start, reverse=False)

    def _click(self, index: int, points: list[Point], clear: bool) -> None:
        where, labels = np.array(points, np.float32), np.ones(len(points), np.int32)
        with self._precision():
            _, _, logits = self._predictor.add_new_points_or_box(
                self._state, index, CLICKED, points=where, labels=labels, clear_old_points=clear
            )
        _ = _pixels([logits])

    def _drawn(self, start: int, reverse: bool) -> int:
        with self._precision():
            return _pixels(
                logits for _, _, logits in self._predictor.propagate_in_video(self._state, start, reverse=reverse)
            )

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()


class AutocastReference(Reference):
    """The same with the bfloat16 autocast that its notebooks switch on for CUDA."""

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16)


class Transformers(Contender):
    """Sam2VideoModel of PyPI's transformers; with random weights of its own, since theirs have other names."""

    def _load(self, config: str) -> None:
        from transformers import Sam2VideoConfig, Sam2VideoModel

        if config != "sam2.1_hiera_tiny":
            raise ValueError(f"transformers' default is sam2.1_hiera_tiny, not {config}")
        sizes, side = Sam2VideoConfig(), self.image_size
        sizes.image_size = sizes.prompt_encoder_config.image_size = side
        sizes.vision_config.backbone_config.image_size = [side, side]
        sizes.vision_config.backbone_feature_sizes = [[side // part, side // part] for part in (4, 8, 16)]
        sizes.memory_attention_rope_feat_sizes = [side // 16, side // 16]
        torch.manual_seed(0)
        self._model: Any = Sam2VideoModel(sizes).eval().requires_grad_(False)
        self._model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(8)
        self._model.to(self.device)

    def open(self, volume: Gray) -> None:
        from transformers import Sam2VideoInferenceSession

        rows, columns = volume.shape[1:]
        state = reference_state(volume, self._seen(volume), str(self.device))
        self._shape = rows, columns
        self._session = Sam2VideoInferenceSession(
            state["images"], rows, columns, self.device, self.device, self.device, torch.float32
        )

    def click(self, index: int, points: list[Point]) -> None:
        self._prompt(CLICKED, index, points, [1] * len(points))

    def box(self, object_id: int, index: int, box: Box) -> None:
        self._prompt(object_id, index, [box[:2], box[2:]], [2, 3])

    def propagate(self, start: int) -> int:
        return self._drawn(start, reverse=False) + self._drawn(start, reverse=True)

    def correct(self, index: int, point: Point, start: int) -> int:
        self.click(index, [point])
        return self._drawn(start, reverse=False)

    @torch.inference_mode()
    def _prompt(self, object_id: int, index: int, points: list[Any], labels: list[int]) -> None:
        scale = torch.tensor([self.image_size / self._shape[1], self.image_size / self._shape[0]])
        place = self._session.obj_id_to_idx(object_id)
        given = {
            "point_coords": (torch.tensor(points) * scale)[None, None].to(self.device),
            "point_labels": torch.tensor(labels, dtype=torch.int32)[None, None].to(self.device),
        }
        self._session.add_point_inputs(place, index, given)
        self._session.obj_with_new_inputs = [object_id]
        _ = _pixels([self._at_full_size(self._model(inference_session=self._session, frame_idx=index).pred_masks)])

    @torch.inference_mode()
    def _drawn(self, start: int, reverse: bool) -> int:
        outputs = self._model.propagate_in_video_iterator(self._session, start, reverse=reverse)
        return _pixels(self._at_full_size(output.pred_masks) for output in outputs)

    def _at_full_size(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(logits, self._shape, mode="bilinear")


CONTENDERS: dict[str, type[Contender]] = {
    "ours": Ours,
    OURS_SHORT: OursInBfloat16,
    "sam2": Reference,
    "sam2, autocast": AutocastReference,
    "transformers": Transformers,
}


def available(device: str) -> Iterator[str]:
    """Names of those that can run on a device here."""
    yield "ours"
    if multiplies_faster(torch.device(device), torch.bfloat16):
        yield OURS_SHORT
    yield from ("sam2", "sam2, autocast") if device == "cuda" else ("sam2",)
    if importlib.util.find_spec("transformers"):
        yield "transformers"


def finish(contender: Contender) -> None:
    """Wait for the device."""
    wait_for(contender.device)


def _pixels(logits: Iterable[torch.Tensor]) -> int:
    """How many pixels the masks hold that come to the host."""
    return sum(int((one > 0).cpu().numpy().sum()) for one in logits)
