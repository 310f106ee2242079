"""Clips that are sets: images in no order, of which none tells where the object is on the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

import medsam2_core as m2
from medsam2_core.memory_bank import MEMORY_RULES
from medsam2_core.training.canvas import Generator
from medsam2_core.training.clips import ClipDataset, cut_clip
from medsam2_core.training.synthesis import make_corpus
from medsam2_core.training.unroll import Task, unroll
from medsam2_core.training.volumes import TrainingVolume, open_folder

SIZE, IMAGES = 64, 6

pytestmark = pytest.mark.usefixtures("single_thread")


class Ball:
    """A bright ball on the middle twelve of 24 slices; a slice's brightness elsewhere tells its place."""

    shape = (24, 40, 40)
    weight = 1.0

    def pick(self, rng: Generator) -> np.ndarray:
        k, j, i = np.ogrid[:24, :40, :40]
        ball: np.ndarray = (k - 11.5) ** 2 + (j - 19.5) ** 2 + (i - 19.5) ** 2 < 6**2
        return ball

    def look(self, rng: Generator, axis: int, slices: np.ndarray) -> np.ndarray:
        dark = np.broadcast_to(np.arange(24.0)[:, None, None] / 48, self.shape)
        image = np.where(self.pick(rng), 1.0, dark)
        return np.moveaxis(image, axis, 0)[slices].astype(np.float32)


def sets_of(volume: TrainingVolume, count: int) -> list[torch.Tensor]:
    dataset = ClipDataset([(1.0, [volume])], IMAGES, SIZE, seed=0, sets=1.0)
    return [dataset[index].masks.flatten(1).any(dim=1) for index in range(count)]


def test_a_third_of_the_images_of_a_set_but_never_the_first_is_without_the_object() -> None:
    there = torch.stack(sets_of(Ball(), 60))
    assert there[:, 0].all()
    assert float(there[:, 1:].float().mean()) == pytest.approx(2 / 3, abs=0.08)


def test_the_images_of_a_set_are_in_no_order_and_each_seen_in_its_own_way() -> None:
    clip = cut_clip(np.random.default_rng(3), Ball(), 12, SIZE, ordered=False)
    widths = [int(mask.any(dim=0).sum()) for mask in clip.masks if mask.any()]
    assert max(widths) > 1.3 * min(widths)
    steps = clip.images.flatten(1).median(dim=1).values.diff().sign()
    assert {-1.0, 1.0} <= set(steps.tolist())
    assert not clip.ordered


def test_a_share_of_the_clips_are_sets() -> None:
    dataset = ClipDataset([(1.0, [Ball()])], 2, SIZE, seed=0, sets=0.25)
    ordered = torch.stack([dataset[index].ordered for index in range(80)])
    assert float(ordered.float().mean()) == pytest.approx(0.75, abs=0.12)


def test_no_mask_is_carried_through_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a batch of both, the clip in order gets the mask of the slice before, and the set knows nothing."""
    make_corpus(tmp_path, 1, seed=1, shape=(12, 48, 48), workers=1)
    (volume,) = open_folder(tmp_path)
    rng = np.random.default_rng(0)
    clips = default_collate([cut_clip(rng, volume, 3, SIZE, ordered) for ordered in (True, False)])
    torch.manual_seed(0)
    model = m2.build_model("starter", SIZE)
    prompts = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda *args, **more: prompts.append(args[2].mask) or decode(*args, **more))
    unroll(model, clips, Task("box", MEMORY_RULES["self-sorting"]), torch.Generator().manual_seed(0))
    tracked = [mask for mask in prompts if mask is not None]
    assert len(tracked) == 2
    for mask in tracked:
        assert mask[0].any()
        assert not mask[1].any()
