"""Models by name or file, on a device."""

from __future__ import annotations

from pathlib import Path

import torch

from medsam2_core.config import get_config
from medsam2_core.errors import DeviceError
from medsam2_core.model import SAM2
from medsam2_core.model.precision import PRECISIONS, set_precision
from medsam2_core.weights.checkpoint import load_state, read_checkpoint
from medsam2_core.weights.finding import find_weights


def build_model(config_name: str, image_size: int | None = None) -> SAM2:
    """Build a model with random weights, in evaluation mode on the CPU. Raises `WeightsError` for unknown names."""
    config = get_config(config_name)
    return SAM2(config if image_size is None else config.at_size(image_size)).eval()


def load_model(
    name_or_path: str | Path, device: str = "auto", image_size: int | None = None, precision: str = "auto"
) -> SAM2:
    """Load a model of the catalog, by name, or a checkpoint file; ready to use on `device`.

    `device` is auto (CUDA, then Apple's MPS, then CPU), or a device torch knows. `image_size` in pixels overrides the
    model's own. `precision` is float32, bfloat16, float16, or auto: float32 unless this device multiplies numbers of
    two bytes clearly faster. Raises `WeightsError` or `DeviceError`.
    """
    if precision not in ("auto", *PRECISIONS):
        raise DeviceError(f"Precision '{precision}' is unknown: choose auto, {', '.join(PRECISIONS)}.")
    target = find_device(device)
    path, size = find_weights(name_or_path)
    return set_precision(load_state(read_checkpoint(path, image_size or size)).to(target), precision)


def find_device(name: str) -> torch.device:
    """Return the device called `name`, the best one for "auto". Raises `DeviceError` if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"Device '{name}' is not available here: choose auto or cpu.") from error
    return device
