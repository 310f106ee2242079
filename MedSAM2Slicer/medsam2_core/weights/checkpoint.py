"""Checkpoints: read safely, recognize the model from its keys and shapes, load strictly."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medsam2_core.config import CONFIGS, ModelConfig
from medsam2_core.errors import WeightsError, says_no_memory
from medsam2_core.files.draft import Draft
from medsam2_core.model import SAM2
from medsam2_core.weights.finding import require_model_file

_PATCH = "image_encoder.trunk.patch_embed.proj.weight"
_BLOCK = "image_encoder.trunk.blocks."
_NEWER = "no_obj_embed_spatial"


@dataclass(frozen=True)
class Checkpoint:
    """Weights and the configuration they were recognized as."""

    path: Path
    config: ModelConfig
    state: dict[str, Tensor]


def read_checkpoint(path: Path, image_size: int | None = None) -> Checkpoint:
    """Read a checkpoint of SAM 2, SAM 2.1, MedSAM-2 (Zhu), MedSAM2 (Ma/Wang) or the starter.

    `image_size` overrides the size the file or the family suggests. Raises `WeightsError` for a file that is missing,
    damaged, carries code, or holds another model.
    """
    content = _load(path)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise WeightsError(f"{path} holds no model weights: choose a SAM 2, SAM 2.1, MedSAM-2 or MedSAM2 checkpoint.")
    config = detect_config(state, path)
    size = image_size or _own_size(content)
    return Checkpoint(path, config if size is None else config.at_size(size), state)


def detect_config(state: dict[str, Tensor], path: Path) -> ModelConfig:
    """Recognize family and size by keys and shapes; file names are not to be trusted. `path` is for messages."""
    if _PATCH not in state:
        raise WeightsError(f"{path} is not a SAM 2 model (it lacks {_PATCH}): choose a SAM 2 family checkpoint.")
    numbers = {key[len(_BLOCK) :].split(".")[0] for key in state if key.startswith(_BLOCK)}
    depth = 1 + max((int(number) for number in numbers if number.isdecimal()), default=-1)
    width = len(state[_PATCH]) if state[_PATCH].ndim else 0
    for config in CONFIGS.values():
        if (config.embed_dim, sum(config.stages), config.absent_memory_code) == (width, depth, _NEWER in state):
            return config
    family = "SAM 2.1" if _NEWER in state else "SAM 2"
    raise WeightsError(
        f"{path} looks like {family} with {width} channels and {depth} blocks, a size that is not known here: "
        f"choose one of {', '.join(CONFIGS)}."
    )


def load_state(checkpoint: Checkpoint) -> SAM2:
    """Build the checkpoint's model, in evaluation mode on the CPU, and load every weight.

    Raises `WeightsError` for weights that do not fit the model, and for ones that are NaN or infinite.
    """
    with torch.device("meta"):
        model = SAM2(checkpoint.config)
    expected = {key: value.shape for key, value in model.state_dict().items()}
    _check_keys(checkpoint, expected)
    state = {key: value.float() if value.is_floating_point() else value for key, value in checkpoint.state.items()}
    _check_finite(checkpoint.path, state)
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def _check_finite(path: Path, state: dict[str, Tensor]) -> None:
    """Refuse weights with which a run would find nothing, and not say so."""
    # A sum is finite only if all of it is: 1 ms for the starter, where a look at each weight takes 50.
    broken = [key for key, value in state.items() if not value.sum().isfinite()]
    if broken:
        raise WeightsError(
            f"{path} holds numbers that are NaN or infinite in {len(broken)} of {len(state)} weights (first: "
            f"{broken[0]}), as a training that failed leaves them: choose another checkpoint."
        )


def save_checkpoint(path: Path, state: dict[str, Tensor], config: ModelConfig) -> None:
    """Write weights in the published form, with the image size they were trained at, as `save_whole` does."""
    save_whole(path, {"model": state, "image_size": config.image_size})


def save_whole(path: Path, content: dict[str, Any]) -> None:
    """Write a file of PyTorch's, whole or not at all. Raises WeightsError, VolumeError; the file is as it was then."""
    with Draft(path) as draft:
        try:
            torch.save(content, draft.file)
            draft.keep()
        except (OSError, RuntimeError) as error:  # the latter is what PyTorch makes of a full disk
            if says_no_memory(error):
                raise
            reason = getattr(error, "strerror", None) or "not all of it was written"
            raise WeightsError(
                f"{path} cannot be written ({reason}): free some disk space, or choose another folder."
            ) from error


def _load(path: Path) -> Any:
    try:
        require_model_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a plain checkpoint; it is damaged or contains code, which is never run: download it again."
        ) from error
    except PermissionError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}): check its permissions.") from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} cannot be read as a checkpoint; it is damaged or cut short: download it again."
        ) from error


def _own_size(content: dict[str, Any]) -> int | None:
    """Return the image size that `save_checkpoint` noted; published files have none."""
    size = content.get("image_size")
    return size if isinstance(size, int) else None


def _check_keys(checkpoint: Checkpoint, expected: dict[str, torch.Size]) -> None:
    state = checkpoint.state
    missing = [key for key in expected if key not in state]
    extra = [key for key in state if key not in expected]
    wrong = [key for key in expected if key in state and state[key].shape != expected[key]]
    if not (missing or extra or wrong):
        return
    first = (missing + extra + wrong)[0]
    raise WeightsError(
        f"{checkpoint.path} does not fit {checkpoint.config.name}: {len(missing)} weights missing, {len(extra)} extra, "
        f"{len(wrong)} of another shape (first: {first}); choose an unmodified checkpoint."
    )
