"""One copy from the model's device to the host, however much is asked: each copy makes the host wait for the device."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_TYPES = {torch.float32: np.float32, torch.bool: np.bool_}


def read_back(tensors: Sequence[Tensor]) -> list[npt.NDArray[Any]]:
    """Return float32 and bool tensors of one device as arrays of the same shapes."""
    flat = torch.cat([tensor.contiguous().flatten().view(torch.uint8) for tensor in tensors]).cpu().numpy()
    ends = list(accumulate(tensor.numel() * tensor.element_size() for tensor in tensors))
    parts = zip(tensors, [0, *ends], ends, strict=False)
    return [flat[start:end].view(_TYPES[tensor.dtype]).reshape(tensor.shape) for tensor, start, end in parts]
