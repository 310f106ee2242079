"""Which slices the two memory banks remember, and how much each counts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import medsam2_core as m2
from medsam2_core.config import get_config
from medsam2_core.memory_bank import Memory, MemoryBank, Shelf, Timeline, memory_rule

CONFIG = get_config("sam2.1_hiera_tiny")  # 6 recent memories, 16 pointers
SIDE = 2


def memory(index: int, seed: int | None = None, confidence: float = 0.9) -> Memory:
    """A memory that knows its slice: the number stands in features and pointer."""
    random = torch.Generator().manual_seed(index if seed is None else seed)
    features = torch.randn(3, SIDE, SIDE, generator=random)
    embedding = torch.randn(5, SIDE, SIDE, generator=random)
    return Memory(index, features, embedding, torch.full((4,), float(index)), confidence)


def pointed(recall: m2.model.Recall) -> list[int]:
    """The slices whose pointers were handed out."""
    return [int(row[0]) for row in recall.pointers]


def remembered(recall: m2.model.Recall, memories: list[Memory]) -> list[int]:
    """The slices whose memory maps were handed out."""
    return [next(m.slice_index for m in memories if torch.equal(m.features, row)) for row in recall.memories]


def filled(rule: str | m2.SelfSorting, timeline: Timeline, prompted: list[Memory], tracked: list[Memory]) -> MemoryBank:
    return remembering(memory_rule(rule).bank(CONFIG, timeline, prompted), tracked)


def remembering(bank: MemoryBank, tracked: list[Memory]) -> MemoryBank:
    for item in tracked:
        bank.add(item)
    return bank


EMBEDDING = memory(99).embedding


# Recency


@pytest.mark.parametrize(("step", "start"), [(1, 0), (-1, 100)])
@pytest.mark.parametrize("done", [0, 1, 6, 7, 30])
def test_recency_hands_out_what_sam2_does(step: int, start: int, done: int) -> None:
    """Maps of the last 6 slices, time code 0 the newest; pointers of the last 15, signed distance over 15."""
    timeline = Timeline(step, 101)
    prompted = [memory(start)]
    tracked = [memory(start + step * n) for n in range(1, done + 1)]
    here = start + step * (done + 1)
    recall = filled("recency", timeline, prompted, tracked).recall(here, EMBEDDING)
    newest = tracked[::-1]
    assert remembered(recall, prompted + tracked) == [start, *(m.slice_index for m in newest[:6])]
    assert recall.ages.tolist() == [6, *range(len(newest[:6]))]
    assert recall.log_weights is None
    assert pointed(recall) == [start, *(m.slice_index for m in newest[:15])]
    ages = [abs(here - index) for index in pointed(recall)]
    assert recall.distances.tolist() == pytest.approx([age / 15 for age in ages])


@pytest.mark.parametrize("rule", ["recency", "pooled", "self-sorting"])
def test_tracked_memories_count_as_often_as_the_model_wants(rule: str) -> None:
    tracked = [memory(k) for k in range(1, 5)]
    even, often = (
        remembering(memory_rule(rule).bank(config, Timeline(1, 40), [memory(0)]), tracked).recall(5, EMBEDDING)
        for config in (CONFIG, replace(CONFIG, tracked_count=10.0))
    )
    before = torch.zeros(5) if even.log_weights is None else even.log_weights
    assert often.log_weights is not None
    torch.testing.assert_close(often.log_weights.exp(), before.exp() * torch.tensor([1.0, 10, 10, 10, 10]))


def test_pooled_hands_out_means_of_what_recency_does() -> None:
    exact, pooled = (
        filled(rule, Timeline(1, 40), [memory(0)], [memory(k) for k in range(1, 9)]).recall(9, EMBEDDING)
        for rule in ("recency", "pooled")
    )
    assert pooled.memories.shape == (7, 3, 1, 1)
    torch.testing.assert_close(pooled.memories[..., 0, 0], exact.memories.mean(dim=(2, 3)))
    assert pooled.ages.tolist() == exact.ages.tolist()
    assert torch.equal(pooled.pointers, exact.pointers)


@pytest.mark.parametrize("step", [1, -1])
def test_prompted_slices_ahead_are_seen_but_not_pointed_to(step: int) -> None:
    prompted = [memory(10 + step * ahead) for ahead in (-2, 3)]
    recall = filled("recency", Timeline(step, 40), prompted, [memory(10 - step)]).recall(10, EMBEDDING)
    assert recall.memories.shape[0] == 3
    assert recall.ages.tolist() == [6, 6, 0]
    assert pointed(recall) == [10 - 2 * step, 10 - step]
    assert recall.distances.tolist() == pytest.approx([2 / 15, 1 / 15])


def test_slices_left_out_leave_a_gap() -> None:
    bank = filled("recency", Timeline(1, 40), [memory(0)], [memory(k) for k in (1, 2, 3, 7)])
    recall = bank.recall(8, EMBEDDING)
    assert recall.ages.tolist() == [6, 0, 4, 5]  # slice 7 one ago, 3 five ago, 2 six ago; 1 is too old


def test_distances_are_divided_by_the_stack_if_it_is_short() -> None:
    recall = filled("recency", Timeline(1, 5), [memory(0)], [memory(1)]).recall(2, EMBEDDING)
    assert recall.distances.tolist() == pytest.approx([2 / 4, 1 / 4])


# Self-sorting


def total_difference(memories: tuple[Memory, ...]) -> list[float]:
    """For each, the sum over the others of 1 - cosine similarity, straight from the paper."""
    flat = [m.features.flatten() for m in memories]
    return [sum(1 - float(F.cosine_similarity(a, b, dim=0)) for b in flat if b is not a) for a in flat]


@given(st.permutations(range(10)), st.integers(2, 6))
def test_the_most_dissimilar_in_total_stay(order: list[int], size: int) -> None:
    prompted, tracked = [memory(50)], [memory(index) for index in order]
    bank = filled(m2.SelfSorting(size=size), Timeline(1, 60), prompted, tracked)
    wanted: tuple[Memory, ...] = ()
    for item in tracked:
        candidates = (*wanted, item)
        scores = dict(zip([m.slice_index for m in candidates], total_difference(candidates), strict=True))
        subsets = itertools.combinations(candidates, min(size, len(candidates)))
        wanted = max(subsets, key=lambda kept: sum(scores[m.slice_index] for m in kept))
    found = remembered(bank.recall(55, EMBEDDING), prompted + tracked)
    assert found[0] == 50
    assert sorted(found[1:]) == sorted(m.slice_index for m in wanted)


def test_a_slice_like_the_others_is_the_one_to_go() -> None:
    tracked = [memory(1, seed=1), memory(2, seed=2), memory(3, seed=3), memory(4, seed=1)]
    tracked[3] = replace(tracked[3], features=tracked[0].features + 0.01)
    found = remembered(
        filled(m2.SelfSorting(size=3), Timeline(1, 9), [memory(0)], tracked).recall(5, EMBEDDING), [memory(0), *tracked]
    )
    assert len({1, 4} & set(found)) == 1
    assert {2, 3} <= set(found)


def test_unsure_slices_are_not_admitted() -> None:
    tracked = [memory(1, confidence=0.49), memory(2, confidence=0.5), memory(3, confidence=0.1)]
    recall = filled(m2.SelfSorting(min_confidence=0.5), Timeline(1, 9), [memory(0)], tracked).recall(4, EMBEDDING)
    assert remembered(recall, [memory(0), *tracked]) == [0, 2]
    assert pointed(recall) == [0, 2]


def test_prompted_slices_always_stay() -> None:
    prompted = [memory(n, confidence=0.0) for n in range(9)]
    bank = filled(m2.SelfSorting(size=2), Timeline(1, 60), prompted, [memory(n) for n in range(10, 30)])
    recall = bank.recall(30, EMBEDDING)
    assert pointed(recall)[:9] == list(range(9))
    assert recall.ages.tolist()[:9] == [6] * 9
    assert not recall.log_weights[:9].any()
    assert len(recall.memories) == 11


def test_time_codes_count_places_by_distance() -> None:
    tracked = [memory(n) for n in (1, 9, 4)]
    recall = filled(m2.SelfSorting(), Timeline(1, 60), [memory(0)], tracked).recall(10, EMBEDDING)
    assert remembered(recall, [memory(0), *tracked]) == [0, 9, 4, 1]
    assert recall.ages.tolist() == [6, 0, 1, 2]


@pytest.mark.parametrize(("codes", "ages"), [("rank", [0, 1, 2]), ("age", [0, 2, 5]), ("same", [0, 0, 0])])
@pytest.mark.parametrize("step", [1, -1])
def test_other_time_codes(codes: str, ages: list[int], step: int) -> None:
    tracked = [memory(10 - step * distance) for distance in (1, 3, 9)]  # the oldest code stands for six slices or more
    rule = m2.SelfSorting(time_codes=codes)
    recall = filled(rule, Timeline(step, 60), [memory(0)], tracked).recall(10, EMBEDDING)
    assert recall.ages.tolist() == [6, *ages]


def test_ranks_end_at_the_oldest_code() -> None:
    recall = filled(m2.SelfSorting(size=8), Timeline(1, 60), [memory(0)], [memory(n) for n in range(1, 9)])
    assert recall.recall(10, EMBEDDING).ages.tolist() == [6, 0, 1, 2, 3, 4, 5, 5, 5]


def test_unknown_time_codes_name_the_choices() -> None:
    with pytest.raises(m2.PromptError, match="choose rank, age, same"):
        m2.SelfSorting(time_codes="newest")


def shares(tracked: list[Memory]) -> torch.Tensor:
    """Softmax of the cosine similarity of image embeddings, nearest slice first."""
    likeness = [F.cosine_similarity(m.embedding.flatten(), EMBEDDING.flatten(), dim=0) for m in tracked[::-1]]
    return torch.stack(likeness).softmax(dim=0)


def test_weights_are_how_often_each_would_be_drawn() -> None:
    tracked = [memory(n) for n in range(1, 6)]
    recall = filled(m2.SelfSorting(), Timeline(1, 60), [memory(0)], tracked).recall(6, EMBEDDING)
    torch.testing.assert_close(recall.log_weights[1:], (5 * shares(tracked)).log())
    assert float(recall.log_weights.exp().sum()) == pytest.approx(6)


def drawn_counts(seed: int, tracked: list[Memory], rounds: int) -> list[list[float]]:
    """How often each tracked slice counts, nearest first, in each of several recalls."""
    bank = filled(m2.SelfSorting(seed=seed), Timeline(1, 60), [memory(0)], tracked)
    rows = []
    for _ in range(rounds):
        recall = bank.recall(6, EMBEDDING)
        counts = dict(zip(pointed(recall), recall.log_weights.exp().tolist(), strict=True))
        rows.append([counts.get(m.slice_index, 0.0) for m in tracked[::-1]])
    return rows


def test_seeded_draws_repeat_and_average_to_the_weights() -> None:
    tracked = [memory(n) for n in range(1, 6)]
    rows = drawn_counts(3, tracked, 1500)
    assert rows[:20] == drawn_counts(3, tracked, 20)
    assert rows[:20] != drawn_counts(4, tracked, 20)
    assert all(sum(row) == pytest.approx(5) for row in rows)
    assert torch.tensor(rows).mean(dim=0).tolist() == pytest.approx((5 * shares(tracked)).tolist(), abs=0.1)


def test_weights_carry_no_gradient_but_memories_do() -> None:
    tracked = [memory(n) for n in (1, 2)]
    tracked = [
        replace(m, embedding=m.embedding.requires_grad_(), features=m.features.requires_grad_()) for m in tracked
    ]
    recall = filled(m2.SelfSorting(size=1), Timeline(1, 9), [memory(0)], tracked).recall(3, EMBEDDING)
    assert not recall.log_weights.requires_grad
    assert recall.memories.requires_grad


def test_linear_weights_are_parts_of_the_sum() -> None:
    """As in the paper; a memory that is not similar at all is left out."""
    tracked = [memory(n) for n in range(1, 9)]
    likeness = [float(F.cosine_similarity(m.embedding.flatten(), EMBEDDING.flatten(), dim=0)) for m in tracked[::-1]]
    similar = [value for value in likeness if value > 0]
    assert 0 < len(similar) < len(likeness)
    rule = m2.SelfSorting(size=8, weights="linear")
    recall = filled(rule, Timeline(1, 60), [memory(0)], tracked).recall(9, EMBEDDING)
    wanted = [8 * value / sum(similar) for value in similar]
    assert recall.log_weights[1:].exp().tolist() == pytest.approx(wanted, rel=1e-4)
    assert pointed(recall)[1:] == [m.slice_index for m, one in zip(tracked[::-1], likeness, strict=True) if one > 0]


def test_linear_weights_without_any_similarity_are_equal() -> None:
    tracked = [replace(memory(n), embedding=-EMBEDDING) for n in (1, 2)]
    recall = filled(m2.SelfSorting(weights="linear"), Timeline(1, 9), [memory(0)], tracked).recall(3, EMBEDDING)
    assert recall.log_weights.tolist() == pytest.approx([0, 0, 0], abs=1e-6)


def test_unknown_weights_name_the_choices() -> None:
    with pytest.raises(m2.PromptError, match="choose softmax or linear"):
        m2.SelfSorting(weights="square")


# A shelf that tracks share


def test_tracks_of_a_shelf_see_what_each_of_them_leaves() -> None:
    shelf, prompted = Shelf(), [memory(5)]
    ways = {step: m2.SelfSorting(size=3).bank(CONFIG, Timeline(step, 11), prompted, shelf) for step in (1, -1)}
    tracked = [memory(index) for index in (6, 4, 7, 3)]
    for item in tracked:
        # As a propagation does it: all are asked before any of them adds.
        asked = [bank.likeness(item.features).tolist() for bank in ways.values()]
        ways[1 if item.slice_index > 5 else -1].add(item, asked[0])
    alone = filled(m2.SelfSorting(size=3), Timeline(1, 11), prompted, tracked)
    for bank in ways.values():
        assert (
            remembered(bank.recall(8, EMBEDDING), prompted + tracked)[1:]
            == remembered(alone.recall(8, EMBEDDING), prompted + tracked)[1:]
        )


def test_a_likeness_that_another_track_made_old_is_found_again() -> None:
    shelf = Shelf()
    one, other = (m2.SelfSorting(size=2).bank(CONFIG, Timeline(1, 11), [memory(0)], shelf) for _ in range(2))
    first, second, third = memory(1), memory(2), replace(memory(3), features=memory(1).features)
    one.add(first)
    stale = other.likeness(third.features).tolist()
    one.add(second)
    other.add(third, stale)
    kept = {item.slice_index for item in shelf.kept}
    assert kept in ({1, 2}, {2, 3})  # one of the two that are alike went, not the one that differs


def test_memories_of_another_axis_come_last_and_point_from_afar() -> None:
    prompted = [replace(memory(0), axis=1), memory(20)]
    tracked = [replace(memory(7), axis=0), *(replace(memory(n), axis=1) for n in (1, 2))]
    bank = m2.SelfSorting().bank(CONFIG, Timeline(1, 40, axis=1), prompted)
    for item in tracked:
        bank.add(item)
    recall = bank.recall(3, EMBEDDING)
    assert remembered(recall, prompted + tracked) == [0, 20, 2, 1, 7]
    assert recall.ages.tolist() == [6, 6, 0, 1, 2]
    assert pointed(recall) == [0, 20, 2, 1, 7]
    assert recall.distances.tolist() == pytest.approx([3 / 15, 1, 1 / 15, 2 / 15, 1])


# Both


@pytest.mark.parametrize("rule", ["recency", "self-sorting"])
def test_a_first_tracked_slice_has_the_prompted_ones_alone(rule: str) -> None:
    recall = filled(rule, Timeline(1, 1), [memory(0)], []).recall(1, EMBEDDING)
    assert recall.memories.shape[0] == recall.pointers.shape[0] == recall.ages.shape[0] == 1
    assert torch.isfinite(recall.distances).all()


def test_rules_go_by_name_or_as_they_are() -> None:
    assert memory_rule("recency") == m2.Recency()
    assert memory_rule("self-sorting") == m2.SelfSorting()
    own = m2.SelfSorting(size=3, seed=1)
    assert memory_rule(own) is own
    with pytest.raises(m2.PromptError, match="choose self-sorting, recency or pooled"):
        memory_rule("newest")
    for other in (None, 5, m2.Recency):
        with pytest.raises(m2.PromptError, match="is not a memory bank: give a name such as 'self-sorting', or a rule"):
            memory_rule(other)
