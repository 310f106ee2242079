"""Training: it learns, resumes exactly, and refuses what it cannot use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

import medsam2_core as m2
from medsam2_core import io
from medsam2_core.memory_bank import MEMORY_RULES
from medsam2_core.model import SAM2
from medsam2_core.model.mask_decoder import DecodedMasks
from medsam2_core.model.prompt_encoder import BOX_END, BOX_START, EXCLUDE, INCLUDE
from medsam2_core.training.clips import ClipDataset
from medsam2_core.training.config import Phase, TrainingConfig
from medsam2_core.training.loop import train
from medsam2_core.training.losses import slice_loss
from medsam2_core.training.ranks import Ranks
from medsam2_core.training.synthesis import make_corpus
from medsam2_core.training.unroll import (
    DecodedSlice,
    Task,
    carry_along,
    draw_boxes,
    draw_clicks,
    draw_correction,
    unroll,
)
from medsam2_core.training.volumes import TrainingVolume, open_folder
from medsam2_core.weights.checkpoint import read_checkpoint

SIZE = 64
CPU = torch.device("cpu")
GRID = io.Geometry((4, 8, 8), (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, 2, seed=1, shape=(12, 48, 48), workers=1)
    return folder


@pytest.fixture
def config(corpus: Path) -> TrainingConfig:
    """Two phases, and every kind of prompt and memory."""
    return TrainingConfig(
        model="starter",
        data={str(corpus): 1.0},
        phases=(Phase(steps=3, length=1, clips=2), Phase(steps=3, length=3, clips=2)),
        image_size=SIZE,
        warmup_steps=2,
        loader_workers=0,
        save_every=100,
        compile_encoder=False,
        bfloat16=False,
        seed=5,
    )


class StopError(Exception):
    pass


def weights(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "state.pt", weights_only=True)


# The loop


@pytest.mark.parametrize("stop_after", [2, 3, 5])
def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    """Stopped within the first phase, between the two, and within the second."""
    from medsam2_core.training import loop

    train(config, tmp_path / "whole", Ranks(CPU))
    learn = loop._Run._one_step

    def stopping(run: Any, clips: Any) -> Any:
        if run.step == stop_after:
            raise StopError
        return learn(run, clips)

    saving = replace(config, save_every=1)
    monkeypatch.setattr(loop._Run, "_one_step", stopping)
    with pytest.raises(StopError):
        train(saving, tmp_path / "parts", Ranks(CPU))
    assert weights(tmp_path / "parts")["step"] == stop_after
    monkeypatch.setattr(loop._Run, "_one_step", learn)
    train(saving, tmp_path / "parts", Ranks(CPU))
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole["step"] == parts["step"] == config.steps
    for kind in ("model", "average"):
        for key, value in whole[kind].items():
            torch.testing.assert_close(parts[kind][key], value, atol=1e-6, rtol=0)


def test_a_run_leaves_a_checkpoint_that_loads_and_a_finished_run_stays(config: TrainingConfig, tmp_path: Path) -> None:
    path = train(config, tmp_path, Ranks(CPU))
    found = read_checkpoint(path)
    assert found.config == m2.CONFIGS["starter"].at_size(SIZE)
    torch.manual_seed(config.seed)
    start = m2.build_model("starter", SIZE).state_dict()
    changed = [key for key, value in start.items() if not torch.equal(found.state[key], value)]
    assert len(changed) > 0.8 * len(start)
    train(config, tmp_path, Ranks(CPU))
    again = read_checkpoint(path).state
    assert all(torch.equal(again[key], value) for key, value in found.state.items())
    assert not list(tmp_path.glob("*.part"))
    continued = replace(config, start_from=str(path), phases=(Phase(1, 1, 2),))
    assert read_checkpoint(train(continued, tmp_path / "tuned", Ranks(CPU))).config == found.config


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def no_zip(path: Path) -> None:
    path.write_bytes(b"no state")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def without_average(path: Path) -> None:
    torch.save({**weights(path.parent), "average": {}}, path)


def a_list(path: Path) -> None:
    torch.save([1, 2], path)


def of_another_model(path: Path) -> None:
    torch.save({**weights(path.parent), "model": {"weight": torch.zeros(1)}}, path)


@pytest.mark.parametrize("damage", [cut_short, no_zip, empty, without_average, a_list, of_another_model])
def test_a_state_that_cannot_be_resumed_from_is_told(
    config: TrainingConfig, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    shortest = replace(config, phases=(Phase(1, 1, 1),))
    train(shortest, tmp_path, Ranks(CPU))
    damage(tmp_path / "state.pt")
    with pytest.raises(m2.WeightsError, match=f"^{tmp_path / 'state.pt'} cannot be resumed from: .*; delete it to"):
        train(shortest, tmp_path, Ranks(CPU))


def test_no_memory_is_not_taken_for_damage(
    config: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    (tmp_path / "state.pt").touch()
    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(config, tmp_path, Ranks(CPU))


def test_shares_may_be_whole_numbers(config: TrainingConfig, tmp_path: Path) -> None:
    shares = {"prompts": {"box": 1}, "memories": {"recency": 1, "self-sorting": 0}, "corrections": {"none": 2}}
    whole = replace(config, phases=(Phase(2, 2, 1),), data=dict.fromkeys(config.data, 1), **shares)
    train(whole, tmp_path, Ranks(CPU))
    assert weights(tmp_path)["step"] == 2


def test_phases_follow_each_other_and_use_new_clips(config: TrainingConfig) -> None:
    two = replace(config, phases=(Phase(3, 1, 4), Phase(2, 5, 2)))
    assert two.steps == 5
    assert [two.phase_at(step) for step in range(5)] == [
        *((two.phases[0], left, used) for left, used in ((3, 0), (2, 4), (1, 8))),
        *((two.phases[1], left, used) for left, used in ((2, 12), (1, 14))),
    ]
    with pytest.raises(IndexError):
        two.phase_at(5)


def test_a_repeated_batch_is_learned(corpus: Path) -> None:
    torch.manual_seed(0)
    model = m2.build_model("starter", SIZE).train()
    dataset = ClipDataset([(1.0, open_folder(corpus))], length=2, size=SIZE, seed=0)
    clips = default_collate([dataset[index] for index in range(2)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-4)
    losses = []
    for _ in range(14):
        generator = torch.Generator().manual_seed(0)
        task = Task("box", MEMORY_RULES["self-sorting"], teacher=1.0)
        decoded = unroll(model, clips, task, generator)
        loss = torch.stack([slice_loss(one.decoded, one.truth, one.ambiguous)[0] for one in decoded]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("prompt", ["box", "click", "mask"])
@pytest.mark.parametrize("memory", list(MEMORY_RULES))
def test_every_prompt_and_memory_teaches_the_memory(corpus: Path, prompt: str, memory: str) -> None:
    decoded, model = unroll_one(corpus, Task(prompt, MEMORY_RULES[memory], teacher=1.0))
    assert [one.ambiguous for one in decoded] == [prompt == "click"] * (prompt != "mask") + [False, False]
    sum(one.decoded.logits.abs().mean() for one in decoded).backward()  # type: ignore[union-attr]
    for part in (model.memory_encoder, model.memory_attention, model.image_encoder):
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in part.parameters())


@pytest.mark.parametrize("correction", ["mask", "click"])
def test_a_corrected_slice_is_one_more_answer_or_one_less(corpus: Path, correction: str) -> None:
    for memory in MEMORY_RULES.values():
        plain, _ = unroll_one(corpus, Task("box", memory))
        corrected, _ = unroll_one(corpus, Task("box", memory, correction))
        assert len(corrected) == len(plain) + (1 if correction == "click" else -1)


def unroll_one(corpus: Path, task: Task) -> tuple[list[DecodedSlice], SAM2]:
    torch.manual_seed(0)
    model = m2.build_model("starter", SIZE).train()
    clip = ClipDataset([(1.0, open_folder(corpus))], length=3, size=SIZE, seed=0)[0]
    return unroll(model, default_collate([clip]), task, torch.Generator().manual_seed(0)), model


def test_a_carried_mask_moves_with_the_view() -> None:
    """Of two views a mask's width to the right, and half as large, the mask is where it was, and nothing beside it."""
    logits = torch.full((2, 8, 8), -20.0)
    logits[:, 2:6, 4:6] = 20.0
    moves = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]], [[0.5, 0, 0], [0, 0.5, 0]]])
    shifted, enlarged = (carry_along(logits, moves)[:, 0] > 0).unbind()
    assert torch.equal(shifted, (logits[0] > 0).roll(-2, dims=1))
    assert torch.equal(enlarged[:, 4:], torch.ones(8, 4, dtype=torch.bool))
    assert not enlarged[:, :4].any()
    still = torch.eye(2, 3).expand(2, -1, -1)
    torch.testing.assert_close(carry_along(logits, still)[:, 0], logits.clamp(-8, 8))


def test_corrections_are_placed_where_the_mask_is_wrong() -> None:
    mask = torch.zeros(4, 32, 32, dtype=torch.bool)
    mask[:3, 8:24, 8:24] = True
    logits = torch.full((4, 8, 8), -10.0)
    logits[0, 2:6, 2:4] = 10.0  # the right half is missing
    logits[1] = 10.0  # too much all around
    logits[2, 2:6, 2:6] = 10.0  # right
    found = draw_correction(logits, mask, torch.Generator().manual_seed(0))
    x, y = found.points[:, 0].long().unbind(dim=1)
    assert found.labels[:, 0].tolist() == [INCLUDE, EXCLUDE, INCLUDE, EXCLUDE]
    assert int(x[0]) >= 15
    assert [bool(mask[b, y[b], x[b]]) for b in range(4)] == [True, False, True, False]


# Clips and prompts


def test_clips_are_seeded_and_start_on_the_object(corpus: Path) -> None:
    volumes = open_folder(corpus)
    first, again, other = (ClipDataset([(1.0, volumes)], 4, SIZE, seed) for seed in (3, 3, 4))
    for index in range(6):
        clip = first[index]
        assert clip.images.shape == clip.masks.shape == (4, SIZE, SIZE)
        assert clip.masks.dtype == torch.bool
        assert int(clip.masks[0].sum()) >= 12
        assert float(clip.images.min()) >= 0
        assert float(clip.images.max()) <= 1 + 1e-5
        torch.testing.assert_close(clip.images, again[index].images, rtol=0, atol=0)
        assert torch.equal(clip.masks, again[index].masks)
        assert not torch.equal(clip.images, other[index].images)
    assert not torch.equal(first[0].images, first[1].images)


def some_masks() -> torch.Tensor:
    masks = torch.zeros(40, SIZE, SIZE, dtype=torch.bool)
    masks[:, 20:40, 10:50] = True
    return masks


def test_drawn_boxes_are_those_of_the_mask_but_for_a_jitter() -> None:
    prompts = draw_boxes(some_masks(), torch.Generator().manual_seed(0))
    assert prompts.labels.tolist() == [[BOX_START, BOX_END]] * 40
    errors = prompts.points - torch.tensor([[10.0, 20.0], [49.0, 39.0]])
    assert (errors.abs() <= torch.tensor([3.9, 1.9]) + 1e-4).all()
    assert float(errors.abs().mean()) > 0.3
    assert len({tuple(row.flatten().tolist()) for row in prompts.points}) == 40


def test_drawn_clicks_lie_inside_the_mask() -> None:
    masks = some_masks()
    prompts = draw_clicks(masks, torch.Generator().manual_seed(0))
    assert (prompts.labels == INCLUDE).all()
    for mask, (x, y) in zip(masks, prompts.points[:, 0].long().tolist(), strict=True):
        assert mask[y, x]


# Losses


def decoded(mask: torch.Tensor, sure: float, iou: float, score: float) -> DecodedMasks:
    logits = torch.where(mask, sure, -sure)[:, None].expand(-1, 4, -1, -1).clone().requires_grad_()
    count = len(mask)
    return DecodedMasks(
        logits,
        torch.full((count, 4), iou).requires_grad_(),
        torch.zeros(count, 4, 8),
        torch.full((count,), score).requires_grad_(),
    )


@pytest.mark.parametrize("ambiguous", [True, False])
def test_a_perfect_answer_costs_next_to_nothing_and_a_wrong_one_much(ambiguous: bool) -> None:
    truth = some_masks()[:2]
    good, parts = slice_loss(decoded(truth, 30.0, 1.0, 15.0), truth, ambiguous)
    assert good.item() == pytest.approx(0, abs=1e-3)
    assert parts.keys() == {"mask", "iou", "object"}
    bad, _ = slice_loss(decoded(~truth, 30.0, 1.0, -15.0), truth, ambiguous)
    assert bad.item() > 10


def test_slices_without_the_object_train_the_score_and_the_iou_alone() -> None:
    absent = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    answer = decoded(some_masks()[:2], 5.0, 0.7, 1.0)
    loss, parts = slice_loss(answer, absent, ambiguous=True)
    loss.backward()
    assert parts["mask"].item() == 0
    assert parts["iou"].item() == pytest.approx(0.7)
    assert answer.logits.grad is None or not answer.logits.grad.any()
    assert (answer.object_score.grad > 0).all()  # type: ignore[operator]
    assert (answer.iou.grad > 0).all()  # type: ignore[operator]


def test_only_the_best_of_the_ambiguous_masks_is_trained() -> None:
    truth = some_masks()[:1]
    answer = decoded(truth, 3.0, 0.9, 5.0)
    with torch.no_grad():
        answer.logits[:, 1] = -answer.logits[:, 1]
        answer.logits[:, 3] = -answer.logits[:, 3]
    slice_loss(answer, truth, ambiguous=True)[0].backward()
    trained = answer.logits.grad.abs().sum(dim=(0, 2, 3)) > 0  # type: ignore[union-attr]
    assert trained.tolist() == [True, False, True, False]


# Data


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Path]:
    """A folder with one real image and labels, as `open_folder` expects it."""

    def make(labels: np.ndarray) -> Path:
        folder = tmp_path / "real" / "case"
        folder.mkdir(parents=True)
        io.write_labelmap(folder / "image.nrrd", np.arange(256, dtype=np.uint8).reshape(4, 8, 8), GRID)
        io.write_labelmap(folder / "labels.nrrd", labels, GRID)
        return folder.parent

    return make


def test_real_pairs_are_found_and_small_labels_left_out(pair: Callable[..., Path]) -> None:
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[:, :, :2] = 3
    labels[0, 0, 5] = 4
    (volume,) = open_folder(pair(labels))
    typed: TrainingVolume = volume
    assert typed.shape == (4, 8, 8)
    for seed in range(5):
        np.testing.assert_array_equal(typed.pick(np.random.default_rng(seed)), labels == 3)
    look = typed.look(np.random.default_rng(0), 1, np.array([2, 2, 5]))
    assert look.shape == (3, 4, 8)
    assert look.dtype == np.float32


def test_folders_that_cannot_be_trained_on(pair: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(m2.VolumeError, match="nothing to train on"):
        open_folder(tmp_path / "empty")
    with pytest.raises(m2.VolumeError, match="nothing to train on"):
        open_folder(tmp_path / "none")
    folder = pair(np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(m2.VolumeError, match="no label of 30 voxels"):
        open_folder(folder)
    (folder / "case" / "image.txt").touch()
    with pytest.raises(m2.VolumeError, match=r"exactly one image file called image\.\*, it has 2"):
        open_folder(folder)
    for file in (folder / "case").glob("image.*"):
        file.unlink()
    with pytest.raises(m2.VolumeError, match="it has 0"):
        open_folder(folder)
