"""The reference implementation, PyPI `sam2==1.1.0`, built from its own YAML files without hydra.

Tests compare numbers with it and `make benchmark` speed. It is installed without its dependencies.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

# Imported by the package but not used by its model.
_UNUSED = (
    "hydra",
    "hydra.core",
    "hydra.core.global_hydra",
    "iopath",
    "iopath.common",
    "iopath.common.file_io",
    "torchvision",
    "torchvision.transforms",
)

# What sam2.build_sam.build_sam2_video_predictor adds to the YAML, but for the hole filling, which needs a CUDA kernel.
_PREDICTOR = {
    "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor",
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}

_YAML_SIZES = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}

_PER_OBJECT = (
    "point_inputs_per_obj",
    "mask_inputs_per_obj",
    "output_dict_per_obj",
    "temp_output_dict_per_obj",
    "frames_tracked_per_obj",
    "cached_features",
    "constants",
    "obj_id_to_idx",
    "obj_idx_to_id",
)


def build_reference(name: str, image_size: int) -> torch.nn.Module:
    """Build the video predictor of a configuration such as sam2.1_hiera_tiny, with random weights."""
    for unused in _UNUSED:
        sys.modules.setdefault(unused, _stand_in(unused))
    package = importlib.import_module("sam2")
    configs = Path(package.__file__ or "").parent / "configs"
    family, size = name.split("_hiera_")
    text = (configs / family / f"{family}_hiera_{_YAML_SIZES[size]}.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)["model"] | _PREDICTOR | {"image_size": image_size}
    model: torch.nn.Module = _instantiate(config).eval()
    return model


def reference_state(volume: npt.NDArray[np.uint8], images: torch.Tensor, device: str = "cpu") -> dict[str, Any]:
    """What `init_state` makes of a folder of JPEG files, without the loss of JPEG.

    `volume` is (slices, rows, columns); `images` (slices, S, S), values in [0, 1], shows it at the model's size.
    """
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    colored = images[:, None].expand(-1, 3, -1, -1)
    return {
        "images": ((colored - mean[:, None, None]) / std[:, None, None]).to(device),
        "num_frames": len(volume),
        "video_height": volume.shape[1],
        "video_width": volume.shape[2],
        "device": torch.device(device),
        "storage_device": torch.device(device),
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "obj_ids": [],
        **{key: {} for key in _PER_OBJECT},
    }


def _stand_in(name: str) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__path__ = []  # type: ignore[attr-defined]
    module.__getattr__ = _anything  # type: ignore[method-assign]
    return module


def _anything(attribute: str) -> Any:
    if attribute.startswith("__"):  # hypothesis looks through all modules for their __file__
        raise AttributeError(attribute)
    return types.SimpleNamespace(instance=lambda: types.SimpleNamespace(is_initialized=lambda: True))


def _instantiate(node: Any) -> Any:
    if isinstance(node, list):
        return [_instantiate(item) for item in node]
    if isinstance(node, dict):
        values = {key: _instantiate(value) for key, value in node.items() if key != "_target_"}
        if "_target_" not in node:
            return values
        module, name = node["_target_"].rsplit(".", 1)
        return getattr(importlib.import_module(module), name)(**values)
    return 1e-6 if node == "1e-6" else node  # YAML 1.1 takes it for a text
