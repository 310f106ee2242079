"""Synthetic label volumes: reproducible, crowded, and with the shapes that the pilot missed."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medsam2_core.training.canvas import Tissue, smooth_field
from medsam2_core.training.synthesis import Synthetic, make_corpus, synthesize_labels

SHAPE = (48, 192, 192)
TINY = (6, 32, 40)
SEEDS = range(8)


@pytest.fixture(scope="module")
def volumes() -> list[Synthetic]:
    return [synthesize_labels(np.random.default_rng(seed), SHAPE) for seed in SEEDS]


def _slices_per_label(volume: Synthetic) -> np.ndarray:
    """Per label, in how many slices it covers at least 20 pixels."""
    counts = [np.bincount(image.ravel(), minlength=len(volume.tissue)) for image in volume.labels]
    return (np.stack(counts) >= 20).sum(axis=0)


def test_equal_seeds_give_equal_volumes_and_others_do_not() -> None:
    first, again, other = (synthesize_labels(np.random.default_rng(seed), TINY) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.tissue, again.tissue)
    np.testing.assert_array_equal(first.parent, again.parent)
    assert (first.labels != other.labels).any()


def test_arrays_have_the_promised_form(volumes: list[Synthetic]) -> None:
    for volume in volumes:
        assert volume.labels.shape == SHAPE
        assert volume.labels.dtype == volume.tissue.dtype == volume.parent.dtype == np.uint8
        assert len(volume.tissue) == len(volume.parent) <= 256
        assert volume.labels.max() < len(volume.tissue)
        assert volume.tissue.max() <= max(Tissue)


@pytest.mark.parametrize("shape", [(1, 16, 16), (5, 24, 17), (9, 40, 64)])
def test_odd_shapes_work(shape: tuple[int, int, int]) -> None:
    assert synthesize_labels(np.random.default_rng(0), shape).labels.shape == shape


def test_every_volume_holds_many_objects_that_last(volumes: list[Synthetic]) -> None:
    for volume in volumes:
        lasting = (_slices_per_label(volume) >= 4) & ~volume.background()
        assert lasting.sum() >= 25


def test_objects_last_from_few_slices_to_all(volumes: list[Synthetic]) -> None:
    lengths = np.concatenate([_slices_per_label(volume)[~volume.background()] for volume in volumes])
    assert ((lengths >= 4) & (lengths <= 8)).sum() >= 20
    assert (lengths == SHAPE[0]).sum() >= 10


def test_objects_appear_and_vanish_within_the_volume(volumes: list[Synthetic]) -> None:
    passing = [len(np.setdiff1d(v.labels, np.union1d(v.labels[0], v.labels[-1]))) for v in volumes]
    assert np.median(passing) >= 10
    assert min(passing) >= 1  # thin slabs: most of what they hold reaches both ends


def test_some_objects_split_along_k(volumes: list[Synthetic]) -> None:
    split = 0
    for volume in volumes:
        for label in np.flatnonzero(volume.tissue == Tissue.VESSEL):
            parts = [ndimage.label(image == label)[1] for image in volume.labels[::4]]
            split += min((n for n in parts if n), default=0) == 1 and max(parts) > 1
    assert split >= 5


def test_air_filled_and_thin_structures_are_there(volumes: list[Synthetic]) -> None:
    found = dict.fromkeys((Tissue.LUNG, Tissue.AIR, Tissue.WALL, Tissue.VESSEL, Tissue.BONE), 0)
    for volume in volumes:
        lasting = _slices_per_label(volume) >= 4
        for tissue in found:
            found[tissue] += int((lasting & (volume.tissue == tissue)).any())
    assert found[Tissue.LUNG] >= 3
    assert min(found[tissue] for tissue in (Tissue.AIR, Tissue.WALL, Tissue.VESSEL, Tissue.BONE)) >= 6


def test_walls_are_thin(volumes: list[Synthetic]) -> None:
    depth = [ndimage.distance_transform_edt(v.labels[24] == n) for v in volumes for n in _labels_of(v, Tissue.WALL)]
    thickest = np.array([d.max() for d in depth if d.any()])
    assert np.median(thickest) <= 4


def _labels_of(volume: Synthetic, tissue: Tissue) -> np.ndarray:
    return np.flatnonzero(volume.tissue == tissue)


def test_parents_precede_their_children_and_wholes_hold_them(volumes: list[Synthetic]) -> None:
    for volume in volumes:
        children = np.flatnonzero(volume.parent)
        assert len(children) >= 3
        assert (volume.parent[children] < children).all()
        for child in children:
            whole = volume.whole(int(volume.parent[child]))
            assert whole[child]
            assert whole[volume.parent[child]]
            assert not whole[volume.background()].any()


def test_smooth_field_is_smooth_and_of_unit_variance() -> None:
    field = smooth_field(np.random.default_rng(0), (40, 60, 60), (8, 12, 12))
    assert field.shape == (40, 60, 60)
    assert field.dtype == np.float32
    assert field.std() == pytest.approx(1, abs=0.15)
    assert np.abs(np.diff(field, axis=2)).max() < 1


def test_save_and_load_agree(tmp_path: Path) -> None:
    volume = synthesize_labels(np.random.default_rng(0), TINY)
    volume.save(tmp_path / "a.npz")
    again = Synthetic.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(volume.labels, again.labels)
    np.testing.assert_array_equal(volume.tissue, again.tissue)
    np.testing.assert_array_equal(volume.parent, again.parent)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_corpus_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    one = make_corpus(tmp_path / "one", 3, seed=5, shape=TINY, workers=1)
    two = make_corpus(tmp_path / "two", 3, seed=5, shape=TINY, workers=2)
    assert [path.name for path in one] == ["00000.npz", "00001.npz", "00002.npz"]
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(Synthetic.load(a).labels, Synthetic.load(b).labels)


def test_corpus_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = make_corpus(tmp_path, 2, seed=5, shape=TINY, workers=1)
    kept = first[0].stat().st_mtime_ns
    wanted = Synthetic.load(first[1]).labels
    first[1].unlink()
    paths = make_corpus(tmp_path, 3, seed=5, shape=TINY, workers=1)
    assert paths[0].stat().st_mtime_ns == kept
    np.testing.assert_array_equal(Synthetic.load(paths[1]).labels, wanted)
    assert all(path.exists() for path in paths)
