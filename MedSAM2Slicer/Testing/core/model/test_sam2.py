"""The model by itself: sizes, batches, the weights of memories, and what absence means."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import medsam2_core as m2
from medsam2_core.model import ABSENT_LOGIT, SAM2, ImageFeatures, Recall, SlicePrompts
from medsam2_core.model.positions import rotations

SIZE = 64
SCORE_BIAS = "sam_mask_decoder.pred_obj_score_head.layers.2.bias"
# SAM 2 and SAM 2.1, counted in models that PyPI sam2 1.1.0 builds from its own YAML files; `test_parity` compares all.
PUBLISHED_KEYS = {"tiny": (468, 471), "small": (516, 519), "base_plus": (612, 615), "large": (900, 903)}


def built(name: str, size: int = SIZE, seed: int = 0) -> SAM2:
    torch.manual_seed(seed)
    model = m2.build_model(name, size)
    model.state_dict()[SCORE_BIAS].fill_(10)
    return model.requires_grad_(False)


@pytest.fixture(scope="module", params=["starter", "sam2_hiera_tiny", "sam2.1_hiera_tiny"])
def model(request: pytest.FixtureRequest) -> SAM2:
    return built(request.param)


pytestmark = pytest.mark.usefixtures("single_thread")


def recall_of(model: SAM2, memories: int, pointers: int, seed: int = 0, pooled: int = 1) -> Recall:
    random = torch.Generator().manual_seed(seed)
    dim, memory_dim, side = model.config.hidden_dim, model.config.memory_dim, model.config.grid_size // pooled
    return Recall(
        memories=torch.randn(memories, memory_dim, side, side, generator=random),
        ages=torch.randint(model.config.recent_memories + 1, (memories,), generator=random),
        log_weights=None,
        pointers=torch.randn(pointers, dim, generator=random),
        distances=torch.rand(pointers, generator=random),
    )


def embeddings(model: SAM2, batch: int) -> torch.Tensor:
    side = model.config.grid_size
    return torch.randn(batch, model.config.hidden_dim, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pooled", [1, 2])
def test_recalls_of_different_size_in_one_batch_equal_one_by_one(model: SAM2, pooled: int) -> None:
    recalls = [recall_of(model, *sizes, seed, pooled) for seed, sizes in enumerate([(1, 1), (7, 16), (3, 2), (7, 1)])]
    recalls[2] = replace(recalls[2], log_weights=torch.tensor([0.0, 1.0, -2.0]))
    image = embeddings(model, 4)
    together = model.recall(image, recalls)
    for row, recall in enumerate(recalls):
        alone = model.recall(image[row : row + 1], [recall])
        torch.testing.assert_close(together[row], alone[0], atol=2e-5, rtol=1e-4)
    assert float((together - image).abs().max()) > 0.1


def test_objects_that_look_at_the_same_slice_recall_as_each_by_itself(model: SAM2) -> None:
    recalls = [recall_of(model, *sizes, seed) for seed, sizes in enumerate([(2, 1), (3, 2), (1, 1)])]
    image, rows = embeddings(model, 2), [1, 0, 1]
    together = model.recall(image, recalls, rows)
    for answer, row, recall in zip(together, rows, recalls, strict=True):
        alone = model.recall(image[row : row + 1], [recall])
        torch.testing.assert_close(answer, alone[0], atol=2e-5, rtol=1e-4)


def test_what_objects_see_alike_is_computed_once(model: SAM2) -> None:
    recalls, image = [recall_of(model, 1, 1, seed) for seed in range(4)], embeddings(model, 1)
    with FlopCounterMode(display=False) as shared:
        model.recall(image, recalls, [0] * 4)
    with FlopCounterMode(display=False) as apart:
        model.recall(image.expand(4, -1, -1, -1), recalls)
    with FlopCounterMode(display=False) as once:
        x, turn = image.flatten(2).mT, rotations(image.shape[1], image.shape[-1], image.device)
        model.memory_attention.layers[0].self_attn(x, x, x, turn, turn)
    assert shared.get_total_flops() == apart.get_total_flops() - 3 * once.get_total_flops()


@pytest.mark.parametrize("times", [2, 5])
def test_a_weight_of_log_n_counts_a_memory_n_times(model: SAM2, times: int) -> None:
    recall = recall_of(model, 3, 2)
    rows = [0, *[1] * times, 2]
    repeated = replace(
        recall, memories=recall.memories[rows], ages=recall.ages[rows], log_weights=torch.zeros(len(rows))
    )
    weighted = replace(recall, log_weights=torch.tensor([1.0, times, 1.0]).log())
    image = embeddings(model, 1)
    torch.testing.assert_close(model.recall(image, [weighted]), model.recall(image, [repeated]), atol=2e-5, rtol=1e-4)
    assert not torch.allclose(model.recall(image, [weighted]), model.recall(image, [recall]), atol=1e-5)


def test_a_token_of_a_coarser_memory_counts_as_the_four_it_stands_for(model: SAM2) -> None:
    """But for their places, whose middle is its own: at most a fiftieth of what another memory changes."""
    coarse, other = (recall_of(model, 3, 2, seed, pooled=2) for seed in (0, 1))
    fine = replace(coarse, memories=coarse.memories.repeat_interleave(2, 2).repeat_interleave(2, 3))
    image = embeddings(model, 1)
    exact, pooled, changed = (
        model.recall(image, [one]) for one in (fine, coarse, replace(other, pointers=fine.pointers))
    )
    assert float((pooled - exact).abs().mean()) < float((changed - exact).abs().mean()) / 50


def test_a_memory_of_no_weight_does_not_count(model: SAM2) -> None:
    recall = recall_of(model, 3, 2)
    dropped = replace(recall, memories=recall.memories[:2], ages=recall.ages[:2], log_weights=torch.zeros(2))
    silent = replace(recall, log_weights=torch.tensor([0.0, 0.0, -torch.inf]))
    image = embeddings(model, 1)
    torch.testing.assert_close(model.recall(image, [silent]), model.recall(image, [dropped]), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("weights", [None, torch.zeros(3)])
def test_every_step_runs_without_asking_the_device(weights: torch.Tensor | None) -> None:
    """On torch's `meta` device nothing has a value, and a tensor that is made on another device does not fit."""
    for name in ("starter", "sam2_hiera_tiny", "sam2.1_hiera_tiny"):
        with torch.device("meta"):
            model = SAM2(m2.CONFIGS[name].at_size(SIZE))
        side, mask_size = model.config.grid_size, model.config.mask_size
        features = model.encode(torch.rand(2, 1, SIZE, SIZE, device="meta"))
        prompted = model.decode(
            model.without_memory(features.embedding), features, SlicePrompts.none(2, model.device), ambiguous=False
        )
        memory = model.memorize(features.embedding, prompted.logits, prompted.object_score, prompted=True)
        assert memory.shape == (2, model.config.memory_dim, side, side)
        full = Recall(memory[[0, 1, 0]], torch.tensor([6, 0, 1], device="meta"), weights, *pointers_of(model, 3))
        if weights is not None:
            full = replace(full, log_weights=weights.to("meta"))
        small = Recall(memory[:1], torch.tensor([6], device="meta"), None, *pointers_of(model, 1))
        pooled = replace(full, memories=torch.nn.functional.avg_pool2d(full.memories, 2))
        for recalls in ([full, full], [full, small], [pooled, pooled]):
            fused = model.recall(features.embedding, recalls)
            tracked = model.decode(fused, features, SlicePrompts.none(2, model.device), ambiguous=True)
            assert tracked.logits.shape == (2, mask_size, mask_size)
            assert tracked.logits.device.type == "meta"
        assert model.adopt(features, torch.ones(2, 1, SIZE, SIZE, device="meta")).logits.shape == tracked.logits.shape


def pointers_of(model: SAM2, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Object pointers and their distances, of no value."""
    return torch.rand(count, model.config.hidden_dim, device="meta"), torch.rand(count, device="meta")


def run_once(model: SAM2, size: int) -> None:
    image = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    features = model.encode(image)
    prompts = SlicePrompts(torch.tensor([[[9.0, 9], [40, 44]], [[3, 5], [50, 60]]]), torch.tensor([[2, 3], [2, 3]]))
    output = model.decode(model.without_memory(features.embedding), features, prompts, ambiguous=False)
    assert output.logits.shape == (2, size // 4, size // 4)
    assert torch.isfinite(output.logits).all()
    assert float(output.logits.std()) > 0
    memory = model.memorize(features.embedding, output.logits, output.object_score, prompted=True)
    assert memory.shape == (2, model.config.memory_dim, size // 16, size // 16)
    recalls = [
        Recall(memory[row][None], torch.tensor([6]), torch.zeros(1), output.pointer[row][None], torch.ones(1))
        for row in range(2)
    ]
    tracked = model.decode(
        model.recall(features.embedding, recalls), features, SlicePrompts.none(2, model.device), ambiguous=False
    )
    assert tracked.logits.shape == output.logits.shape
    assert torch.isfinite(tracked.logits).all()
    assert ((tracked.iou >= 0) & (tracked.iou <= 1)).all()
    adopted = model.adopt(features, torch.ones(2, 1, size, size))
    assert (adopted.logits > 0).all()


@pytest.mark.parametrize("size", [64, 96, 128, 160, 192, 224, 256])
def test_every_size_divisible_by_32_runs(size: int) -> None:
    run_once(built("starter", size), size)


@pytest.mark.parametrize("size", [96, 160])
@pytest.mark.parametrize("name", ["sam2_hiera_tiny", "sam2.1_hiera_base_plus"])
def test_published_models_run_at_odd_sizes(name: str, size: int) -> None:
    run_once(built(name, size), size)


@pytest.mark.parametrize("size", [0, 32, 65, 100, -64])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(m2.WeightsError, match="choose a multiple of 32, at least 64"):
        m2.build_model("starter", size)


def test_weights_do_not_depend_on_the_size() -> None:
    small, large = (m2.build_model("starter", size).state_dict() for size in (64, 256))
    assert {k: v.shape for k, v in small.items()} == {k: v.shape for k, v in large.items()}


@pytest.mark.parametrize("size", list(PUBLISHED_KEYS))
def test_published_models_have_the_published_keys(size: str) -> None:
    with torch.device("meta"):
        older, newer = (SAM2(m2.CONFIGS[f"{family}_hiera_{size}"]).state_dict() for family in ("sam2", "sam2.1"))
    extra = {"no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias"}
    assert newer.keys() - older.keys() == extra
    assert older.keys() <= newer.keys()
    assert (len(older), len(newer)) == PUBLISHED_KEYS[size]


def features_of(model: SAM2, batch: int = 1) -> ImageFeatures:
    return model.encode(torch.rand(batch, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(2)))


def click(label: int = 1) -> SlicePrompts:
    return SlicePrompts(torch.tensor([[[20.0, 30.0]]]), torch.tensor([[label]]))


def test_gray_images_are_seen_as_three_equal_channels(model: SAM2) -> None:
    image = torch.rand(1, 1, SIZE, SIZE)
    for one, three in zip(model.encode(image), model.encode(image.expand(-1, 3, -1, -1)), strict=True):
        torch.testing.assert_close(one, three)


def test_an_absent_object_has_no_mask_and_its_own_pointer_and_memory(model: SAM2) -> None:
    bias = model.state_dict()[SCORE_BIAS]
    features = features_of(model)
    present = model.decode(model.without_memory(features.embedding), features, click(), ambiguous=True)
    bias.fill_(-10)
    try:
        absent = model.decode(model.without_memory(features.embedding), features, click(), ambiguous=True)
    finally:
        bias.fill_(10)
    assert (absent.logits == ABSENT_LOGIT).all()
    assert not (present.logits == ABSENT_LOGIT).any()
    torch.testing.assert_close(absent.pointer, model.no_obj_ptr.data)
    scores = torch.tensor([5.0]), torch.tensor([-5.0])
    there, gone = (model.memorize(features.embedding, absent.logits, score, prompted=False) for score in scores)
    if model.config.absent_memory_code:
        wanted = model.no_obj_embed_spatial.data[0, :, None, None].expand_as(there[0])
        torch.testing.assert_close((gone - there)[0], wanted, atol=1e-5, rtol=1e-4)
    else:
        torch.testing.assert_close(gone, there)


def test_an_adopted_mask_is_the_answer(model: SAM2) -> None:
    mask = torch.zeros(2, 1, SIZE, SIZE)
    mask[0, 0, 16:48, 8:40] = 1
    output = model.adopt(features_of(model, 2), mask)
    torch.testing.assert_close(output.logits[0][5:11, 3:9], torch.full((6, 6), 10.0))
    torch.testing.assert_close(output.logits[1], torch.full_like(output.logits[1], -10.0))
    assert output.object_score.tolist() == [10.0, -10.0]
    assert output.iou.tolist() == [1.0, 1.0]
    torch.testing.assert_close(output.pointer[1], model.no_obj_ptr.data[0])


def test_what_is_remembered_of_prompted_slices_is_a_hard_mask(model: SAM2) -> None:
    features = features_of(model)
    weak = torch.linspace(-0.1, 0.1, (SIZE // 4) ** 2).reshape(1, SIZE // 4, SIZE // 4)
    score = torch.ones(1)

    def memory(logits: torch.Tensor, prompted: bool) -> torch.Tensor:
        return model.memorize(features.embedding, logits, score, prompted)

    torch.testing.assert_close(memory(weak, True), memory(100 * weak, True))
    assert not torch.allclose(memory(weak, False), memory(100 * weak, False), atol=1e-3)


def test_padding_points_after_a_prompt_do_not_change_a_clear_answer() -> None:
    """Labels of -1 pad: their place is not seen."""
    model = built("sam2.1_hiera_tiny")
    features = features_of(model)
    fused = model.without_memory(features.embedding)
    answers = []
    for place in (0.0, 50.0):
        points = torch.tensor([[[10.0, 12], [50, 44], [place, place]]])
        answers.append(model.decode(fused, features, SlicePrompts(points, torch.tensor([[2, 3, -1]])), False).logits)
    torch.testing.assert_close(*answers)
