"""The reference implementation, for comparison."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import sam2_reference


@pytest.fixture(scope="session")
def build_reference() -> Callable[[str, int], torch.nn.Module]:
    """Build the reference video predictor of a configuration such as sam2.1_hiera_tiny, with random weights."""
    return sam2_reference.build_reference
