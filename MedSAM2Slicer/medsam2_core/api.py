"""The public names of `medsam2_core`."""

from __future__ import annotations

from medsam2_core.answers import SlicePrediction, SliceResult
from medsam2_core.config import CONFIGS, ModelConfig
from medsam2_core.errors import (
    Cancelled,
    DeviceError,
    MedSAM2Error,
    PromptError,
    VolumeError,
    WeightsError,
    WorkerError,
)
from medsam2_core.image.window import Window
from medsam2_core.image_set import ImageSetSession
from medsam2_core.memory_bank import Recency, SelfSorting
from medsam2_core.session import VolumeSession
from medsam2_core.session_base import PropagationStep
from medsam2_core.stopping import CancelToken, StopRules
from medsam2_core.weights.loading import build_model, load_model

__all__ = [
    "CONFIGS",
    "CancelToken",
    "Cancelled",
    "DeviceError",
    "ImageSetSession",
    "MedSAM2Error",
    "ModelConfig",
    "PromptError",
    "PropagationStep",
    "Recency",
    "SelfSorting",
    "SlicePrediction",
    "SliceResult",
    "StopRules",
    "VolumeError",
    "VolumeSession",
    "WeightsError",
    "Window",
    "WorkerError",
    "build_model",
    "load_model",
]
