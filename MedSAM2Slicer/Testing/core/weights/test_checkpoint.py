"""Checkpoints: recognized by keys and shapes, loaded strictly, and never trusted."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import medsam2_core as m2
from medsam2_core.model import SAM2
from medsam2_core.weights.checkpoint import detect_config, load_state, read_checkpoint, save_checkpoint

PATCH = "image_encoder.trunk.patch_embed.proj.weight"
State = dict[str, Any]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(0)
    return m2.build_model("starter", image_size=64).state_dict()


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Save a file's content, expect that it is refused in one sentence that names it, and return the sentence."""

    def refuse(content: Any) -> str:
        path = tmp_path / "model.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        with pytest.raises(m2.WeightsError) as caught:
            load_state(read_checkpoint(path))
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refuse


@pytest.mark.parametrize("name", list(m2.CONFIGS))
def test_every_family_and_size_is_recognized_by_keys_and_shapes(name: str) -> None:
    with torch.device("meta"):
        weights = SAM2(m2.CONFIGS[name]).state_dict()
    assert detect_config(weights, Path("sam2_hiera_large_renamed.pt")) == m2.CONFIGS[name]


def test_a_misleading_file_name_misleads_nobody(state: State, tmp_path: Path) -> None:
    torch.save({"model": state}, tmp_path / "sam2.1_hiera_large.pt")
    assert read_checkpoint(tmp_path / "sam2.1_hiera_large.pt").config == m2.CONFIGS["starter"]


@pytest.mark.parametrize("wrapped", [True, False])
def test_every_weight_arrives(state: State, tmp_path: Path, wrapped: bool) -> None:
    path = tmp_path / "a.bin"
    torch.save({"model": state} if wrapped else state, path)
    model = load_state(read_checkpoint(path, image_size=64))
    assert not model.training
    loaded = model.state_dict()
    assert loaded.keys() == state.keys()
    for key, value in state.items():
        torch.testing.assert_close(loaded[key], value, rtol=0, atol=0)


def test_saved_checkpoints_know_their_image_size_and_leave_no_draft(state: State, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, state, m2.CONFIGS["starter"].at_size(96))
    assert read_checkpoint(path).config.image_size == 96
    assert read_checkpoint(path, image_size=128).config.image_size == 128
    assert [item.name for item in tmp_path.iterdir()] == ["a.pt"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_load_as_float32(state: State, tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"model": {key: value.to(dtype) for key, value in state.items()}}, tmp_path / "half.pt")
    model = load_state(read_checkpoint(tmp_path / "half.pt"))
    for key, value in model.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state[key].to(dtype).float(), rtol=0, atol=0)


def without(state: State, key: str) -> State:
    return {k: v for k, v in state.items() if k != key}


def test_missing_extra_and_misshapen_weights_are_counted(state: State, refused: Callable[..., str]) -> None:
    assert "1 weights missing, 0 extra" in refused({"model": without(state, "no_obj_ptr")})
    assert "first: no_obj_ptr" in refused({"model": without(state, "no_obj_ptr")})
    assert "0 weights missing, 1 extra" in refused({"model": state | {"more": torch.zeros(1)}})
    assert "1 of another shape (first: no_obj_ptr)" in refused({"model": state | {"no_obj_ptr": torch.zeros(1, 7)}})


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_weights_that_are_no_numbers_are_refused(
    state: State, refused: Callable[..., str], number: float, dtype: torch.dtype
) -> None:
    broken = state["no_obj_ptr"].to(dtype, copy=True)
    broken[0, 3] = number
    said = refused({"model": state | {"no_obj_ptr": broken}})
    assert f"NaN or infinite in 1 of {len(state)} weights (first: no_obj_ptr)" in said


def test_large_weights_in_half_precision_are_numbers(state: State, tmp_path: Path) -> None:
    large = torch.full_like(state["no_obj_ptr"], 60_000, dtype=torch.float16)  # their sum is infinite in float16
    torch.save({"model": state | {"no_obj_ptr": large}}, tmp_path / "large.pt")
    assert load_state(read_checkpoint(tmp_path / "large.pt")).state_dict()["no_obj_ptr"].max() == 60_000


def test_unknown_sizes_are_said(state: State, refused: Callable[..., str]) -> None:
    assert "SAM 2.1 with 7 channels and 8 blocks" in refused({"model": state | {PATCH: torch.zeros(7, 3, 7, 7)}})
    assert "0 channels" in refused({"model": state | {PATCH: torch.tensor(1.0)}})
    assert "0 blocks" in refused({"model": {PATCH: state[PATCH]}})
    odd = {key.replace("blocks.7.", "blocks.x."): value for key, value in state.items()}
    assert "7 blocks" in refused({"model": odd})


@pytest.mark.parametrize("size", [7, -64, 10**9 + 1, True, "192"])
def test_a_nonsense_image_size_does_no_harm(state: State, tmp_path: Path, size: Any) -> None:
    torch.save({"model": state, "image_size": size}, tmp_path / "a.pt")
    if isinstance(size, str):  # not one of ours: the family's own size
        assert read_checkpoint(tmp_path / "a.pt").config.image_size == m2.CONFIGS["starter"].image_size
        return
    with pytest.raises(m2.WeightsError, match="multiple of 32"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "content",
    [
        {"model": "text"},
        {"epoch": 3},
        {},
        {"model": {}},
        {"model": {1: torch.zeros(1)}},
        [1, 2],
        torch.zeros(3),
        "text",
    ],
    ids=repr,
)
def test_files_without_a_model(refused: Callable[..., str], content: Any) -> None:
    assert "SAM 2" in refused(content)


class Bomb:
    """Pickled, it is a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("plain", [True, False])
def test_code_in_a_file_is_refused_and_not_run(
    state: State, refused: Callable[..., str], tmp_path: Path, plain: bool
) -> None:
    marker = tmp_path / "ran"
    content = {"model": dict(state), "extra": Bomb(marker)}
    problem = refused(pickle.dumps(content, protocol=2) if plain else content)
    assert "contains code, which is never run" in problem
    assert not marker.exists()
    pickle.loads(pickle.dumps(Bomb(marker)))  # noqa: S301 (the bomb does work)
    assert marker.exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.9999])
def test_truncated_files(state: State, refused: Callable[..., str], tmp_path: Path, share: float) -> None:
    torch.save({"model": state}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    assert "download it again" in refused(whole[: int(share * len(whole))])


GARBAGE = [b"bad", b"a", b"", b"\x00" * 64, b"PK\x03\x04", b"PK\x03\x04" + b"x" * 200, b"\x80\x02.", b"\x80\x02N.",
           b"(lp0\n.", b"}.", b"I1\n.", b"\xff\xd8\xff", b"cos\nsystem\n.",
           "über".encode(), b"q", b"\x94", b"<html>"]  # fmt: skip


@pytest.mark.parametrize("content", GARBAGE, ids=repr)
def test_garbage(refused: Callable[..., str], content: bytes) -> None:
    assert "download it again" in refused(content) or "holds no model" in refused(content)


@pytest.mark.parametrize("seed", range(40))
def test_damage_anywhere_gives_a_weights_error_or_a_whole_model(seed: int, tmp_path: Path) -> None:
    """One flipped byte in the pickled part: refused, or still a model with every weight in its place."""
    torch.save({"model": {"no_obj_ptr": torch.zeros(1, 4), PATCH: torch.zeros(2, 2)}}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    place = int(torch.randint(len(content), (1,), generator=torch.Generator().manual_seed(seed)))
    content[place] ^= 0xFF
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(m2.WeightsError):  # even if undamaged where it counts, it is no model that is known
        load_state(read_checkpoint(tmp_path / "a.pt"))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    (tmp_path / "a.pt").write_bytes(b"PK")
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(m2.WeightsError, match=r"a\.pt cannot be read \(Permission denied\): check its permissions"):
        read_checkpoint(tmp_path / "a.pt")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(m2.WeightsError, match="does not exist"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(m2.WeightsError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("limit", [0, 20_000, 96_500])
def test_a_full_disk_keeps_the_old_file_and_nothing_else(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")
    code = (
        "import resource, signal, sys, torch; from pathlib import Path\n"
        "from medsam2_core.errors import MedSAM2Error; from medsam2_core.weights.checkpoint import save_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "try: save_whole(Path(sys.argv[1]), {'a': torch.zeros(24_000)})\n"
        "except MedSAM2Error as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(m2.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(path), str(limit)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=True)
    assert "cannot be written (" in done.stdout, done.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
