"""Model configurations: every published SAM 2 and SAM 2.1 size, and the small starter model.

A configuration is a plain frozen value; `model.sam2.SAM2(config)` turns it into a module whose state-dict keys equal
those of the published code, so that published checkpoints load strictly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from medsam2_core.errors import WeightsError


@dataclass(frozen=True)
class ModelConfig:
    """The shape of one SAM 2 model. Sizes are channels unless said otherwise; images are square, in pixels."""

    name: str
    image_size: int = 1024

    # Hiera trunk (Ryali et al., arXiv 2306.00989)
    embed_dim: int = 96
    num_heads: int = 1
    stages: tuple[int, ...] = (1, 2, 7, 2)
    global_blocks: tuple[int, ...] = (5, 7, 9)
    window_sizes: tuple[int, ...] = (8, 4, 14, 7)
    position_grid: tuple[int, int] = (7, 7)

    # Heads and memory (Ravi et al., arXiv 2408.00714)
    hidden_dim: int = 256
    memory_dim: int = 64
    memory_layers: int = 4
    memory_mlp_dim: int = 2048
    decoder_mlp_dim: int = 2048
    recent_memories: int = 6
    object_pointers: int = 16

    # SAM 2.1 tells the memory that an object is absent and how far away each object pointer is; SAM 2 does not.
    absent_memory_code: bool = True
    pointer_time_codes: bool = True

    # The starter also sees each prompt, and on tracked slices the previous slice's mask, as a dense mask prompt:
    # volume Dice 0.46 -> 0.51 in the pilot. Published models never saw this.
    dense_prompts: bool = False

    # Tracked slices are answered by the best of three masks, and a mask that hangs on its threshold is replaced by
    # another: so SAM 2 was trained. The starter's single mask is its best.
    multimask_tracking: bool = True
    stability_fallback: bool = True

    # SAM 2 remembers all prompted slices of an object on every track. The starter remembers only the one a track starts
    # from: with the others, too, boxes on three slices had a mean Dice of 0.59 instead of 0.63, and one box with three
    # corrections 0.75 instead of 0.77 (62 structures of its training volumes).
    remember_all_prompts: bool = True

    # How many times a tracked memory counts beside a prompted one. The starter looks back too much at where it started:
    # from one box its Dice is 0.605 with 10 times (0.606 with 30) instead of 0.583 (125 structures of its training
    # volumes).
    tracked_count: float = 1.0

    # The starter's predicted IoU does not fade as its tracks stray: 20 to 40 slices from the prompt it is 0.33 and the
    # true IoU 0.18. Times exp(-distance / trust_mm) its correlation with the true one is 0.68 instead of 0.64, and 6 %
    # instead of 21 % of the masks beside the object claim more than 0.5 (694 slices of its training volumes).
    trust_mm: float | None = None

    # What the model was trained to look at: whole slices, or a square around the object.
    field_of_view: str = "whole"

    def __post_init__(self) -> None:
        if self.image_size < 64 or self.image_size % 32:
            raise WeightsError(
                f"Model image size {self.image_size} cannot be used: choose a multiple of 32, at least 64."
            )

    @property
    def grid_size(self) -> int:
        """Side of the image embedding, in tokens (one token covers 16 x 16 pixels)."""
        return self.image_size // 16

    @property
    def mask_size(self) -> int:
        """Side of the mask logits the decoder gives, in pixels (a quarter of the image)."""
        return self.image_size // 4

    def at_size(self, image_size: int) -> ModelConfig:
        """Return the same model for another image size (any multiple of 32); the weights do not depend on it."""
        return replace(self, image_size=image_size)


def _published(name: str, **trunk: object) -> list[ModelConfig]:
    newer = ModelConfig(name=f"sam2.1_hiera_{name}", **trunk)  # type: ignore[arg-type]
    older = replace(newer, name=f"sam2_hiera_{name}", absent_memory_code=False, pointer_time_codes=False)
    return [older, newer]


STARTER = ModelConfig(
    name="starter",
    image_size=256,
    embed_dim=48,
    stages=(1, 2, 4, 1),
    global_blocks=(4, 5, 6),
    window_sizes=(8, 4, 12, 6),
    hidden_dim=128,
    memory_layers=2,
    memory_mlp_dim=512,
    decoder_mlp_dim=512,
    dense_prompts=True,
    multimask_tracking=False,
    stability_fallback=False,
    remember_all_prompts=False,
    tracked_count=10.0,
    trust_mm=140.0,
    field_of_view="zoom",
)

_ALL = [
    STARTER,
    *_published("tiny"),
    *_published("small", stages=(1, 2, 11, 2), global_blocks=(7, 10, 13)),
    *_published(
        "base_plus",
        embed_dim=112,
        num_heads=2,
        stages=(2, 3, 16, 3),
        global_blocks=(12, 16, 20),
        position_grid=(14, 14),
    ),
    *_published(
        "large",
        embed_dim=144,
        num_heads=2,
        stages=(2, 6, 36, 4),
        global_blocks=(23, 33, 43),
        window_sizes=(8, 4, 16, 8),
    ),
]

CONFIGS: dict[str, ModelConfig] = {config.name: config for config in _ALL}
"""Every model this package can build, by name."""


def get_config(name: str) -> ModelConfig:
    """Return the configuration called `name`, or raise `WeightsError` naming the choices."""
    if name not in CONFIGS:
        raise WeightsError(f"No model configuration is called '{name}': choose one of {', '.join(CONFIGS)}.")
    return CONFIGS[name]
