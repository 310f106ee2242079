"""Image features on disk: the same as encoded, never those of something else, and no trouble to a run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import medsam2_core as m2
from medsam2_core.feature_folder import FeatureFolder
from medsam2_core.files.draft import Draft
from medsam2_core.model import SAM2
from medsam2_core.model.precision import set_precision
from medsam2_core.notices import InputNotice


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Chosen in the environment, and not there yet."""
    monkeypatch.setenv("MEDSAM2_FEATURES", str(tmp_path / "features"))
    return tmp_path / "features"


@pytest.fixture
def model() -> SAM2:
    torch.manual_seed(0)
    return m2.build_model("starter", image_size=64)


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-500, 500, (6, 40, 48)).astype(np.int16)


def run(model: SAM2, volume: np.ndarray, directions: str = "one") -> m2.VolumeSession:
    """A session that has followed a box through the volume."""
    session = m2.VolumeSession(model, volume, window="0/1000")
    session.add_box(1, 2, (10, 10, 30, 30))
    for _ in session.propagate(directions=directions):
        pass
    return session


def used_before(paths: list[Path]) -> None:
    for age, path in enumerate(paths):
        os.utime(path, (1_000_000 - age, 1_000_000 - age))


def test_another_session_encodes_nothing_and_draws_the_same(folder: Path, model: SAM2, volume: np.ndarray) -> None:
    first, second = run(model, volume), run(model, volume)
    views = first.encoder_runs
    assert views >= 6
    assert second.encoder_runs == 0
    assert second.encoder_counts["hits"] == first.encoder_counts["hits"] + views
    np.testing.assert_array_equal(first.labelmap(), second.labelmap())
    assert first.results(1) == second.results(1)
    assert len(list(folder.iterdir())) == views


def test_other_axes_are_kept_too(folder: Path, model: SAM2, volume: np.ndarray) -> None:
    first = run(model, volume, directions="three")
    files = set(folder.iterdir())
    np.testing.assert_array_equal(first.labelmap(), run(model, volume, directions="three").labelmap())
    assert set(folder.iterdir()) == files
    assert len(files) > first.encoder_runs


def test_features_are_those_of_the_same_pixels_weights_size_and_precision(folder: Path, volume: np.ndarray) -> None:
    def encoded(seed: int, size: int, precision: str, window: str) -> int:
        torch.manual_seed(seed)
        session = m2.VolumeSession(
            set_precision(m2.build_model("starter", image_size=size), precision), volume, window=window
        )
        session.look(0)
        return session.encoder_runs

    assert encoded(0, 64, "float32", "0/1000") == 1
    assert encoded(0, 64, "float32", "0/1000") == 0
    assert encoded(1, 64, "float32", "0/1000") == 1
    assert encoded(0, 96, "float32", "0/1000") == 1
    assert encoded(0, 64, "bfloat16", "0/1000") == 1
    assert encoded(0, 64, "float32", "0/900") == 1


def test_a_model_in_training_gets_no_features_of_its_former_weights(folder: Path, volume: np.ndarray) -> None:
    model = m2.build_model("starter", image_size=64)
    m2.VolumeSession(model, volume).look(0)
    with torch.no_grad():
        model.image_encoder.trunk.patch_embed.proj.bias += 1
    session = m2.VolumeSession(model, volume)
    session.look(0)
    assert session.encoder_runs == 1


def test_damaged_files_are_made_again(folder: Path, model: SAM2, volume: np.ndarray) -> None:
    first = run(model, volume)
    wholes = sorted(folder.iterdir())
    cut, empty, other, holed, *_ = wholes
    cut.write_bytes(cut.read_bytes()[:-100])
    empty.write_bytes(b"")
    torch.save({"embedding": 1}, other)
    content = holed.read_bytes()  # as a bad disk leaves it; torch reads that without a word
    holed.write_bytes(content[:2048] + bytes(2048) + content[4096:])
    again = run(model, volume)
    assert again.encoder_runs == 4
    np.testing.assert_array_equal(first.labelmap(), again.labelmap())
    assert run(model, volume).encoder_runs == 0


def test_the_files_used_longest_ago_go_first(folder: Path, model: SAM2, volume: np.ndarray) -> None:
    run(model, volume)
    files = sorted(folder.iterdir())
    used_before(files)
    size = files[0].stat().st_size
    kept = FeatureFolder(folder, model, max_bytes=4 * size)
    image = torch.zeros(64, 64)
    kept.keep(image, model.encode(image.expand(1, 1, 64, 64)))
    left = set(folder.iterdir())
    assert sum(path.stat().st_size for path in left) <= 4 * size
    assert left & set(files) == set(files[: len(left) - 1])
    assert kept.find(image) is not None


def test_processes_that_share_a_folder_keep_to_its_limit_together(
    folder: Path, model: SAM2, recwarn: pytest.WarningsRecorder
) -> None:
    features = model.encode(torch.zeros(1, 1, 64, 64))
    FeatureFolder(folder, model, 10**9).keep(torch.zeros(64, 64), features)
    limit = 10 * next(folder.iterdir()).stat().st_size
    one, other = (FeatureFolder(folder, model, limit) for _ in range(2))
    for value in range(1, 20):
        for kept in (one, other):
            kept.keep(torch.full((64, 64), value + (kept is one) / 2), features)
            assert sum(path.stat().st_size for path in folder.iterdir()) <= limit * 1.2
    assert not recwarn.list


def test_files_and_folder_may_be_removed_at_any_time(
    folder: Path, model: SAM2, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    features = model.encode(torch.zeros(1, 1, 64, 64))
    kept, keep = FeatureFolder(folder, model, 10**9), Draft.keep

    def kept_and_removed(draft: Draft) -> None:
        keep(draft)
        for path in folder.iterdir():
            path.unlink()

    def removed(draft: Draft) -> None:
        draft.discard()
        folder.rmdir()
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    for step in (kept_and_removed, removed):
        monkeypatch.setattr(Draft, "keep", step)
        kept.keep(torch.zeros(64, 64), features)
    monkeypatch.setattr(Draft, "keep", keep)
    kept.keep(torch.zeros(64, 64), features)
    assert kept.find(torch.zeros(64, 64)) is not None
    assert not recwarn.list


def test_a_folder_that_may_only_be_read_serves(
    folder: Path, model: SAM2, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    run(model, volume)
    files = set(folder.iterdir())
    for name in ("utime", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    assert run(model, volume).encoder_runs == 0
    assert set(folder.iterdir()) == files


def test_a_full_disk_is_told_once_and_ends_no_run(
    folder: Path, model: SAM2, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_draft: Draft) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Draft, "keep", fail)
    with pytest.warns(InputNotice, match=r"features are no longer kept in .*: .*space") as told:
        session = run(model, volume)
    assert len([one for one in told if one.category is InputNotice]) == 1
    assert session.results(1)
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_made_ends_no_run(
    tmp_path: Path, model: SAM2, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDSAM2_FEATURES", str(tmp_path / "file" / "features"))
    match = r"features are no longer kept in .*: (Not a directory|.*cannot find the path)"
    with pytest.warns(InputNotice, match=match):
        assert run(model, volume).results(1)


def test_a_home_folder_of_nobody_is_refused(model: SAM2, volume: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDSAM2_FEATURES", "~no-such-user/features")
    with pytest.raises(m2.VolumeError, match=r"MEDSAM2_FEATURES is '~no-such-user/features'.*full path"):
        m2.VolumeSession(model, volume)


@pytest.mark.skipif(os.name == "nt", reason="rights of files are told otherwise on Windows")
def test_nobody_else_can_read_what_is_of_patients(folder: Path, model: SAM2, volume: np.ndarray) -> None:
    m2.VolumeSession(model, volume).look(0)
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("limit", ["ten", "inf", "nan", "-3"])
def test_a_limit_that_is_none_is_refused(
    folder: Path, model: SAM2, volume: np.ndarray, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSAM2_FEATURES_GB", limit)
    with pytest.raises(m2.VolumeError, match=r"MEDSAM2_FEATURES_GB is .*: give a number of gigabytes"):
        m2.VolumeSession(model, volume)


def test_without_a_folder_nothing_is_written(
    model: SAM2, volume: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDSAM2_FEATURES", raising=False)
    monkeypatch.chdir(tmp_path)
    m2.VolumeSession(model, volume).look(0)
    assert not list(tmp_path.iterdir())
