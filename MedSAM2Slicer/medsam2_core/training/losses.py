"""What a decoded slice costs: focal, cross entropy and Dice on the mask, error of the predicted IoU, object score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from medsam2_core.model.mask_decoder import DecodedMasks

_FOCAL, _CROSS_ENTROPY, _DICE, _IOU, _OBJECT = 10.0, 1.0, 1.0, 1.0, 1.0


def slice_loss(decoded: DecodedMasks, truth: Tensor, ambiguous: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch of slices and its parts; truth is (B, S, S) bool.

    Mask 0 answers every slice; where the prompt is `ambiguous` the best of masks 1 to 3 is trained as well, as in SAM.
    Slices without the object train the object score and the predicted IoU (0) alone.
    """
    there = truth.flatten(1).any(dim=1)
    target = truth[:, None].expand(-1, decoded.logits.shape[1], -1, -1).float()
    logits = F.interpolate(decoded.logits.float(), truth.shape[-2:], mode="bilinear")
    mask = _mask_loss(logits, target)  # (B, 4)
    with torch.no_grad():
        iou = _iou(logits > 0, truth[:, None])
    shape_loss = mask[:, 0] + (mask[:, 1:].amin(dim=1) if ambiguous else 0.0)
    iou_error = (decoded.iou.float() - iou).abs()
    iou_loss = iou_error.mean(dim=1) if ambiguous else iou_error[:, 0]
    parts = {
        "mask": (shape_loss * there).sum() / there.sum().clamp(min=1),
        "iou": _IOU * iou_loss.mean(),
        "object": _OBJECT * F.binary_cross_entropy_with_logits(decoded.object_score.float(), there.float()),
    }
    return torch.stack(list(parts.values())).sum(), parts


def _mask_loss(logits: Tensor, target: Tensor) -> Tensor:
    """(B, M, S, S) twice -> (B, M)."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    share = logits.sigmoid()
    wrong = share + target - 2 * share * target
    weight = 0.75 - 0.5 * target  # alpha 0.25 on the object, as in SAM 2
    focal = (weight * wrong**2 * entropy).mean(dim=(2, 3))
    overlap = 2 * (share * target).sum(dim=(2, 3)) + 1
    dice = 1 - overlap / (share.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    return _FOCAL * focal + _CROSS_ENTROPY * entropy.mean(dim=(2, 3)) + _DICE * dice


def _iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """(B, M, S, S) and (B, 1, S, S) bool -> (B, M); 0 where the object is absent."""
    both = (predicted & truth).sum(dim=(2, 3))
    return both / (predicted | truth).sum(dim=(2, 3)).clamp(min=1)
