"""The mask decoder: tokens and image attend to each other, then each mask token draws a mask.

SAM (arXiv 2304.02643, section 3) with SAM 2's additions: skip connections from the trunk's finer maps and a token
that says whether the object is there at all (arXiv 2408.00714, section 4).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from medsam2_core.config import ModelConfig
from medsam2_core.model.attention import Attention
from medsam2_core.model.layers import MLP, LayerNorm2d

_HEADS = 8
_MASKS = 4  # one for clear prompts, three for ambiguous ones

# SAM 2's video predictor falls back to the best of the three when the single mask hangs on its threshold.
_STABILITY_MARGIN = 0.05
_STABILITY_MINIMUM = 0.98


class TwoWayBlock(nn.Module):
    """Tokens attend to themselves and the image, then the image attends to the tokens."""

    def __init__(self, dim: int, mlp_dim: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(dim, _HEADS)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = Attention(dim, _HEADS, dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim, dim)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = nn.LayerNorm(dim)
        self.cross_attn_image_to_token = Attention(dim, _HEADS, dim // 2)

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, dim) and image (B, N, dim), each with its position code of the same shape."""
        tokens = self.norm1(self._self_attention(tokens, token_code))
        coded_image = image + image_code
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_code, coded_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(coded_image, tokens + token_code, tokens))
        return tokens, image

    def _self_attention(self, tokens: Tensor, token_code: Tensor) -> Tensor:
        if self.first:  # the tokens still are their own code
            return self.self_attn(tokens, tokens, tokens)
        coded = tokens + token_code
        return tokens + self.self_attn(coded, coded, tokens)


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image."""

    def __init__(self, dim: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(dim, mlp_dim, first=index == 0) for index in range(2))
        self.final_attn_token_to_image = Attention(dim, _HEADS, dim // 2)
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, image: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, dim), image (B, N, dim) and its code (1, N, dim) -> both, updated."""
        token_code = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_code, image_code)
        look = self.final_attn_token_to_image(tokens + token_code, image + image_code, image)
        return self.norm_final_attn(tokens + look), image


class DecodedMasks(NamedTuple):
    """All the decoder says about a batch of slices. Mask 0 answers clear prompts, 1 to 3 ambiguous ones."""

    logits: Tensor  # (B, 4, S / 4, S / 4)
    iou: Tensor  # (B, 4), in [0, 1]
    tokens: Tensor  # (B, 4, dim)
    object_score: Tensor  # (B,), a logit: above 0 the object is there


class MaskDecoder(nn.Module):
    """Turn a fused image embedding and prompt codes into masks, their expected IoU and the object score."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.hidden_dim
        self.transformer = TwoWayTransformer(dim, config.decoder_mlp_dim)
        self.iou_token = nn.Embedding(1, dim)
        self.mask_tokens = nn.Embedding(_MASKS, dim)
        self.obj_score_token = nn.Embedding(1, dim)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(dim, dim // 4, kernel_size=2, stride=2),
            LayerNorm2d(dim // 4),
            nn.GELU(),
            nn.ConvTranspose2d(dim // 4, dim // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.conv_s0 = nn.Conv2d(dim, dim // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(dim, dim // 4, kernel_size=1)
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(dim, dim, dim, dim // 8) for _ in range(_MASKS))
        self.iou_prediction_head = MLP(dim, 256, 256, _MASKS)
        self.pred_obj_score_head = MLP(dim, dim, dim, 1)

    def forward(
        self, embedding: Tensor, grid_code: Tensor, tokens: Tensor, dense: Tensor, finer: tuple[Tensor, Tensor]
    ) -> DecodedMasks:
        """Decode a batch of slices.

        embedding and dense are (B, dim, g, g), grid_code (1, dim, g, g), tokens (B, T, dim); finer holds the maps at
        strides 4 and 8, already through `conv_s0` and `conv_s1`.
        """
        batch, _, side, _ = embedding.shape
        own = torch.cat([self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own[None].expand(batch, -1, -1), tokens], dim=1)
        image = (embedding + dense).flatten(2).transpose(1, 2)
        tokens, image = self.transformer(tokens, image, grid_code.flatten(2).transpose(1, 2))
        object_token, iou_token, mask_tokens = tokens[:, 0], tokens[:, 1], tokens[:, 2 : 2 + _MASKS]
        fine = self._upscale(image.transpose(1, 2).unflatten(2, (side, side)), finer)
        brushes = [mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        return DecodedMasks(
            logits=torch.einsum("bmc,bchw->bmhw", torch.stack(brushes, dim=1), fine),
            iou=self.iou_prediction_head(iou_token).sigmoid(),
            tokens=mask_tokens,
            object_score=self.pred_obj_score_head(object_token)[:, 0],
        )

    def _upscale(self, image: Tensor, finer: tuple[Tensor, Tensor]) -> Tensor:
        up1, norm, act1, up2, act2 = self.output_upscaling
        image = act1(norm(up1(image) + finer[1]))
        return act2(up2(image) + finer[0])


def choose_mask(decoded: DecodedMasks, ambiguous: bool, fallback: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Pick one mask per slice as SAM 2's video predictor does: logits (B, h, w), IoU (B,), token (B, dim).

    Ambiguous prompts take the best of masks 1 to 3. Clear ones take mask 0, unless it is unstable and `fallback` is on:
    then the best of the others, but still the token of mask 0, since that is the one tracking was trained with.
    """
    rows = torch.arange(len(decoded.iou), device=decoded.iou.device)
    best = decoded.iou[:, 1:].argmax(dim=1) + 1
    if ambiguous:
        return decoded.logits[rows, best], decoded.iou[rows, best], decoded.tokens[rows, best]
    chosen = torch.where(_is_stable(decoded.logits[:, 0]), 0, best) if fallback else torch.zeros_like(best)
    return decoded.logits[rows, chosen], decoded.iou[rows, chosen], decoded.tokens[:, 0]


def _is_stable(logits: Tensor) -> Tensor:
    inner = (logits > _STABILITY_MARGIN).sum(dim=(1, 2))
    outer = (logits > -_STABILITY_MARGIN).sum(dim=(1, 2))
    return inner >= _STABILITY_MINIMUM * outer
