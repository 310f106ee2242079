"""Image embeddings: each view encoded once, and no more kept than there is room for."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import medsam2_core as m2
from medsam2_core.embeddings import EmbeddingCache
from medsam2_core.image.pixels import VolumeStack
from medsam2_core.image.region import Region
from medsam2_core.image.window import Window

WHOLE = Region.whole(20, 24)


@pytest.fixture
def stack() -> VolumeStack:
    volume = np.random.default_rng(0).integers(0, 256, (20, 20, 24)).astype(np.uint8)
    return VolumeStack(volume, (1, 1, 1), 0, Window(0, 255, "all"))


def bytes_of_one(cache: EmbeddingCache) -> int:
    return sum(level.numel() * level.element_size() for level in cache.get([(0, WHOLE)]))


@pytest.fixture
def one(fakes: ModuleType, stack: VolumeStack) -> int:
    """Bytes of the features of one view."""
    return bytes_of_one(EmbeddingCache(fakes.FakeModel(), stack))


def test_a_view_is_encoded_once_and_repeats_share_it(fakes: ModuleType, stack: VolumeStack) -> None:
    cache = EmbeddingCache(fakes.FakeModel(), stack)
    views = [(3, WHOLE), (1, WHOLE), (3, WHOLE), (3, Region(2, 2, 8, 8))]
    features = cache.get(views)
    assert cache.encoded == 3
    assert len(features.embedding) == 4
    torch.testing.assert_close(features.stride4[0], features.stride4[2])
    assert not torch.equal(features.stride4[0], features.stride4[1])
    assert not torch.equal(features.stride4[0], features.stride4[3])
    again = cache.get(views[::-1])
    assert cache.encoded == 3
    torch.testing.assert_close(again.stride4, features.stride4.flip(0))


def test_what_objects_look_at_together_is_given_once(fakes: ModuleType, stack: VolumeStack) -> None:
    cache = EmbeddingCache(fakes.FakeModel(), stack)
    here, there, part = (3, WHOLE), (1, WHOLE), (3, Region(2, 2, 8, 8))
    for views, distinct, wanted in (
        ([here, there, here, part], [here, there, part], [0, 1, 0, 2]),
        ([there, here], [there, here], None),
    ):
        shared, rows = cache.get_shared(views)
        assert rows == wanted
        torch.testing.assert_close(shared.stride4, cache.get(distinct).stride4)


def test_many_views_are_the_same_as_one_by_one(fakes: ModuleType, stack: VolumeStack) -> None:
    views = [(index, WHOLE) for index in range(20)]
    together = EmbeddingCache(fakes.FakeModel(), stack).get(views)
    cache = EmbeddingCache(fakes.FakeModel(), stack)
    for row, view in enumerate(views):
        torch.testing.assert_close(together.stride4[row], cache.get([view]).stride4[0])


def test_the_ones_used_longest_ago_go_first(fakes: ModuleType, stack: VolumeStack, one: int) -> None:
    cache = EmbeddingCache(fakes.FakeModel(), stack, max_bytes=3 * one)
    cache.get([(0, WHOLE), (1, WHOLE), (2, WHOLE)])
    cache.get([(0, WHOLE)])
    cache.get([(3, WHOLE)])  # 1 goes
    assert cache.encoded == 4
    cache.get([(0, WHOLE), (2, WHOLE), (3, WHOLE)])
    assert cache.encoded == 4
    cache.get([(1, WHOLE)])
    assert cache.encoded == 5


@pytest.mark.parametrize("room", [0.5, 2, 5.5])
def test_what_is_kept_stays_within_bounds(fakes: ModuleType, stack: VolumeStack, one: int, room: float) -> None:
    """Even one request larger than the room is answered; then all that fits is free of charge, and no more."""
    cache = EmbeddingCache(fakes.FakeModel(), stack, max_bytes=int(room * one))
    assert len(cache.get([(index, WHOLE) for index in range(12)]).embedding) == 12
    kept = max(int(room), 1)
    cache.get([(index, WHOLE) for index in range(12 - kept, 12)])
    assert cache.encoded == 12
    cache.get([(11 - kept, WHOLE)])
    assert cache.encoded == 13


def test_features_do_not_depend_on_what_was_kept(fakes: ModuleType, stack: VolumeStack, one: int) -> None:
    def values(cache: EmbeddingCache) -> list[Any]:
        return [cache.get([(index % 7, WHOLE)]).stride4 for index in range(20)]

    for roomy, tight in zip(
        values(EmbeddingCache(fakes.FakeModel(), stack)),
        values(EmbeddingCache(fakes.FakeModel(), stack, max_bytes=2 * one)),
        strict=True,
    ):
        torch.testing.assert_close(roomy, tight)


def test_a_lower_limit_drops_what_was_used_longest_ago(fakes: ModuleType, stack: VolumeStack, one: int) -> None:
    cache = EmbeddingCache(fakes.FakeModel(), stack)
    cache.get([(index, WHOLE) for index in range(5)])
    assert cache.bytes == 5 * one
    cache.limit(2 * one)
    assert cache.bytes == 2 * one
    cache.get([(3, WHOLE), (4, WHOLE)])
    assert cache.encoded == 5
    cache.get([(0, WHOLE)])
    assert (cache.encoded, cache.bytes) == (6, 2 * one)


@pytest.fixture
def batches(fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many views went through the image encoder together."""
    sizes: list[int] = []
    encode = fakes.FakeModel.encode

    def noted(model: Any, image: torch.Tensor) -> Any:
        sizes.append(len(image))
        return encode(model, image)

    monkeypatch.setattr(fakes.FakeModel, "encode", noted)
    return sizes


def test_views_ahead_fill_the_batch(fakes: ModuleType, stack: VolumeStack, batches: list[int]) -> None:
    cache = EmbeddingCache(fakes.FakeModel(), stack)
    cache.works_ahead = True
    cache.get([(0, WHOLE)])
    ahead = [(index, WHOLE) for index in range(1, 20)]
    for index in range(1, 12):
        found = cache.get([(index, WHOLE)], ahead[index:])
        torch.testing.assert_close(found.stride4, cache.get([(index, WHOLE)]).stride4)
    assert batches == [1, 8, 8]
    assert cache.encoded == 17


def test_no_more_is_seen_ahead_than_can_be_kept(
    fakes: ModuleType, stack: VolumeStack, one: int, batches: list[int]
) -> None:
    batches.clear()  # of what was measured
    cache = EmbeddingCache(fakes.FakeModel(), stack, max_bytes=3 * one)
    cache.works_ahead = True
    for index in range(10):
        cache.get([(index, WHOLE)], [(later, WHOLE) for later in range(index + 1, 20)])
    assert batches == [1, 3, 3, 3]


def test_a_processor_does_not_work_ahead(fakes: ModuleType, stack: VolumeStack, batches: list[int]) -> None:
    cache = EmbeddingCache(fakes.FakeModel(), stack)
    cache.get([(0, WHOLE)])
    cache.get([(1, WHOLE)], [(2, WHOLE)])
    assert batches == [1, 1]


@pytest.mark.parametrize("view", ["whole", "zoom"])
def test_a_propagation_asks_ahead_for_what_it_will_see(
    fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, batches: list[int], view: str
) -> None:
    """Which slices it will look at is known with whole slices only; none is seen that it does not come to."""
    k, j, i = np.indices((20, 64, 64))
    volume = np.where((i - 20 - k / 2) ** 2 + (j - 20) ** 2 < 8**2, 200, 100).astype(np.uint8)

    def masks(works_ahead: bool) -> Any:
        session = m2.VolumeSession(fakes.FakeModel(), volume, window=Window(0, 200, "test"), field_of_view=view)
        monkeypatch.setattr(session._cache, "works_ahead", works_ahead)
        session.add_box(1, 5, (14, 12, 32, 30))
        list(session.propagate(stop=m2.StopRules(max_distance_mm=10)))
        return session.mask(1)

    alone = masks(works_ahead=False)
    one_by_one = batches[:]
    batches.clear()
    np.testing.assert_array_equal(masks(works_ahead=True), alone)
    assert alone[:16].any(axis=(1, 2)).all()
    assert batches == ([1, 8, 7] if view == "whole" else one_by_one)
