"""Objects whose masks overlap: one that lost most of its mask to others is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import medsam2_core as m2
from medsam2_core.io.png import gray_png

BOX = ("--box", "8,8,36,30@5")
SAID = "Note: {}: 100 % of its mask overlaps other objects ({}), which have that part now: check their prompts"
EQUAL = ("--object", "a", *BOX, "--object", "b", *BOX)


def test_equal_prompts_of_a_propagation(run, capsys, ct: Path, checkpoint: Path) -> None:
    words = ("--model", checkpoint, "--report", "run.json", "--quiet", *EQUAL)
    assert run("propagate", ct, "--output", "a.seg.nrrd", *words) == 0
    assert capsys.readouterr().err.count(SAID.format("b", "a")) == 1
    first, second = json.loads(Path("run.json").read_text(encoding="utf-8"))["objects"]
    assert "overlap_ml" not in first
    assert second["volume_ml"] == 0
    assert second["overlap_ml"] == pytest.approx(first["volume_ml"])
    assert run("propagate", ct, "--output", "b.seg.nrrd", "--model", checkpoint, "--prompts", "run.json") == 0


def test_masks_are_compared_without_a_volume_of_each(
    run, capsys, ct: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a large volume with many objects each is as large as the label map."""
    monkeypatch.setattr(m2.VolumeSession, "mask", lambda *_, **__: pytest.fail("A mask of the whole volume was made."))
    assert run("propagate", ct, "--output", "a.seg.nrrd", "--model", checkpoint, "--quiet", *EQUAL) == 0
    assert SAID.format("b", "a") in capsys.readouterr().err


def test_a_batch_notes_it(run, ct: Path, checkpoint: Path) -> None:
    Path("cases.csv").write_text(f'case,image,object,box\n1,{ct},a,"{BOX[1]}"\n1,{ct},b,"{BOX[1]}"\n', encoding="utf-8")
    assert run("batch", "cases.csv", "--output", "out", "--model", checkpoint, "--workers", "1") == 0
    assert SAID.format("b", "a").removeprefix("Note: ") in Path("out/index.html").read_text(encoding="utf-8")


def test_equal_prompts_of_a_sequence(run, capsys, ct: Path, checkpoint: Path) -> None:
    assert run("sequence", ct, ct, "--output", "out", "--model", checkpoint, "--quiet", *EQUAL) == 0
    assert capsys.readouterr().err.count(SAID.format("a", "b")) == 1  # the later one counts


def test_equal_prompts_of_a_set(run, capsys, checkpoint: Path) -> None:
    Path("set").mkdir()
    pixels = np.zeros((40, 40), np.uint8)
    pixels[10:25, 8:30] = 200
    for name in ("a.png", "b.png"):
        Path("set", name).write_bytes(gray_png(pixels))
    box = ("--box", "8,10,30,25")
    words = ("--prompt", "set/a.png", "--object", "a", *box, "--object", "b", *box)
    assert run("images", "set", "--output", "out", "--model", checkpoint, "--quiet", *words) == 0
    assert capsys.readouterr().err.count(SAID.format("b", "a")) == 1


def test_objects_apart_are_not_told(run, capsys, ct: Path, checkpoint: Path) -> None:
    words = ("--object", "a", "--box", "2,2,10,10@5", "--object", "b", "--box", "30,25,44,38@5")
    assert run("propagate", ct, "--output", "a.seg.nrrd", "--model", checkpoint, "--quiet", *words) == 0
    assert "overlaps" not in capsys.readouterr().err
