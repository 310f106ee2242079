"""Bounds of what a run's settings, and who asks a session for masks, can give. Imports nothing heavy."""

from __future__ import annotations

from medsam2_core.setting import Number

THRESHOLD = Number(0.001, 0.999)
"""Probabilities of a pixel. Their logits, 6.9, stay well within those that are kept (`answers.LOGIT_LIMIT`)."""

SMOOTHING_MM = Number(0.0, 1000.0)
"""The standard deviation of a Gaussian across slices."""
