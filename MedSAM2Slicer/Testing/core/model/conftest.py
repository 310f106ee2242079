"""The reference implementation, PyPI `sam2==1.1.0`, built from its own YAML files without hydra."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

# sam2 is installed without its dependencies; these are imported by its package but not used by its model.
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


@pytest.fixture(scope="session")
def build_reference() -> Callable[[str, int], torch.nn.Module]:
    """Build the reference video predictor of a configuration such as sam2.1_hiera_tiny, with random weights."""
    for name in _UNUSED:
        sys.modules.setdefault(name, _stand_in(name))
    package = importlib.import_module("sam2")
    configs = Path(package.__file__ or "").parent / "configs"

    def build(name: str, image_size: int) -> torch.nn.Module:
        family, size = name.split("_hiera_")
        text = (configs / family / f"{family}_hiera_{_YAML_SIZES[size]}.yaml").read_text(encoding="utf-8")
        config = yaml.safe_load(text)["model"] | _PREDICTOR | {"image_size": image_size}
        model: torch.nn.Module = _instantiate(config).eval()
        return model

    return build
