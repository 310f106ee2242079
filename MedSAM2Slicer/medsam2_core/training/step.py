"""The loss of a batch of clips as a module, so that DistributedDataParallel sees which parameters it goes through."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from medsam2_core.model import SAM2
from medsam2_core.training.clips import Clip
from medsam2_core.training.losses import slice_loss
from medsam2_core.training.unroll import Task, unroll


class ClipsLoss(nn.Module):
    """Runs a model over clips; gives the mean loss of the slices, and its parts as numbers to show."""

    def __init__(self, model: SAM2, bfloat16: bool) -> None:
        super().__init__()
        self.model, self._bfloat16 = model, bfloat16

    def forward(self, clips: Clip, task: Task, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """The clips (B, T, ...) practice `task`, whose random parts come from `generator`."""
        device = clips.images.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._bfloat16), _attention(device):
            decoded = unroll(self.model, clips, task, generator)
        losses = [slice_loss(one.decoded, one.truth, one.ambiguous) for one in decoded]
        loss = torch.stack([total for total, _ in losses]).mean()
        parts = {name: torch.stack([part[name].detach() for _, part in losses]).mean() for name in losses[0][1]}
        return loss, {"loss": loss.detach(), **parts}


def _attention(device: torch.device) -> AbstractContextManager[Any]:
    """Plain matrix products for attention on a CPU: its fused kernel's gradient took 30 % of a step.

    1.22 s to 1.04 s for 32 slices of 128 pixels on one core.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
