"""`medsam2 images`: a set of images in, masks, table and page out."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from medsam2_core import io
from medsam2_core.image_set import ImageSetSession
from medsam2_core.job import image_run

OUT = Path("out")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images: gray and in color, of two sizes, two of one stem; and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for name, shape in (("a1.png", (40, 48)), ("a2.png", (40, 48)), ("b.bmp", (64, 30)), ("b.png", (40, 48))):
        sitk.WriteImage(sitk.GetImageFromArray(rng.integers(0, 256, shape, dtype=np.uint8)), str(folder / name))
    color = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(color, isVector=True), str(folder / "c.jpg"))
    sitk.WriteImage(sitk.GetImageFromArray(rng.normal(0, 1, (32, 32)).astype(np.float32)), str(folder / "d.nii"))
    (folder / "e.png").write_bytes(b"not an image")
    return folder


@pytest.fixture
def good(photos: Path) -> Path:
    (photos / "e.png").unlink()
    return photos


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def rows() -> list[dict[str, str]]:
    with (OUT / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_set_of_all_kinds(run, capsys, photos: Path, checkpoint: Path) -> None:
    code = run(
        "images", photos, "--output", OUT, "--model", checkpoint, "--prompt", photos / "a1.png",
        "--object", "disc", "--box", "8,8,36,30", "--object", "cup", "--point", "20,20", "--exclude", "2,2",
        "--prompt", photos / "c.jpg", "--absent",
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert code == 3  # a file was skipped
    assert f"Note: {photos / 'e.png'}: Cannot be read as an image" in err
    assert "Incomplete: 1 file is skipped" in err
    assert re.search(r"^Least certain: ", out, re.MULTILINE)
    names = {"a1": (40, 48), "a2": (40, 48), "b_bmp": (64, 30), "b_png": (40, 48), "c": (50, 60), "d": (32, 32)}
    assert sorted(path.name for path in (OUT / "masks").iterdir()) == sorted(f"{name}.png" for name in names)
    table = rows()
    assert [(row["result"], row["object"]) for row in table] == [
        (name, label) for name in names for label in ("disc", "cup")
    ]
    for name, shape in names.items():
        labels = read(OUT / "masks" / f"{name}.png")
        assert labels.shape == shape
        found = [row for row in table if row["result"] == name]
        assert [int(row["area_px"]) for row in found] == [int((labels == label).sum()) for label in (1, 2)]
        assert {row["area_mm2"] == "" for row in found} == {name != "d"}
    assert not (read(OUT / "masks" / "c.png") == 2).any()
    assert {row["doubt_rank"] for row in table} == {str(rank) for rank in range(1, 7)}
    assert [row["prompted"] for row in table if row["result"] == "c"] == ["0", "1"]
    assert not (OUT / "masks.seg.nrrd").exists()
    page = (OUT / "index.html").read_text(encoding="utf-8")
    ranked = sorted({(int(row["doubt_rank"]), row["result"]) for row in table})
    assert re.findall(r"<figcaption>(\w+)<br>", page) == [name for _, name in ranked]
    assert page.count("data:image/jpeg;base64,") == 6
    assert "<path stroke=" in page
    assert "e.png: Cannot be read" in page
    assert "http" not in page


def test_images_of_one_size_make_a_segmentation(run, good: Path, checkpoint: Path) -> None:
    files = [good / name for name in ("a1.png", "a2.png", "b.png")]
    prompt = ("--prompt", good / "a2.png", "--object", "disc", "--point", "20,20")
    assert run("images", *files, "--output", OUT, "--model", checkpoint, "--quiet", *prompt) == 0
    labels, segments = io.read_segments(OUT / "masks.seg.nrrd")
    assert [segment.name for segment in segments] == ["disc"]
    assert np.array_equal(labels, np.stack([read(OUT / "masks" / f"{name}.png") for name in ("a1", "a2", "b")]))
    assert labels.any()
    assert run("images", good, "--output", OUT, "--model", checkpoint, "--quiet", *prompt) == 0
    assert not (OUT / "masks.seg.nrrd").exists()


@pytest.mark.parametrize("kind", ["jpg", "tif"])
def test_photographs_that_others_show_turned_are_told(run, capsys, good: Path, checkpoint: Path, kind: str) -> None:
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    photo = good / f"turned.{kind}"
    sitk.WriteImage(sitk.ReadImage(str(good / "c.jpg")), str(photo))
    content = photo.read_bytes()
    if kind == "jpg":
        photo.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    else:
        place = content.index(struct.pack("<HHI", 0x0112, 3, 1))
        photo.write_bytes(content[: place + 8] + b"\6" + content[place + 9 :])
    words = "--prompt", good / "a1.png", "--box", "8,8,36,30", "--model", checkpoint, "--output", OUT, "--quiet"
    assert run("images", good, *words) == 0
    assert f"Note: {photo}: 1 file is shown turned or mirrored by other programs" in capsys.readouterr().err
    photo.unlink()
    assert run("images", good, *words) == 0
    assert capsys.readouterr().err == ""


def test_masks_of_earlier_images_are_gone_and_other_files_stay(run, good: Path, checkpoint: Path) -> None:
    command = ("--output", OUT, "--model", checkpoint, "--quiet", "--prompt", good / "a2.png", "--point", "20,20")
    assert run("images", good, *command) == 0
    assert len(list((OUT / "masks").iterdir())) == 6
    (OUT / "masks" / "mine.png").write_bytes(b"mine")
    assert run("images", good / "a1.png", *command) == 0
    assert sorted(path.name for path in (OUT / "masks").iterdir()) == ["a1.png", "a2.png", "mine.png"]


def test_a_folder_that_is_refused_is_left_as_it_is(run, good: Path) -> None:
    before = sorted(good.iterdir())
    assert run("images", good / "a1.png", "--output", good, "--prompt", good / "a1.png", "--point", "20,20") == 2
    assert sorted(good.iterdir()) == before


def test_what_is_refused_leaves_no_folder(run, good: Path, checkpoint: Path) -> None:
    outside = ("--prompt", good / "a1.png", "--point", "200,20", "--model", checkpoint, "--quiet")
    assert run("images", good, "--output", OUT, *outside) == 2
    assert not OUT.exists()
    OUT.mkdir()
    assert run("images", good, "--output", OUT, *outside) == 2
    assert not list(OUT.iterdir())


def test_prompts_of_a_run_are_taken_up_and_added_to(run, good: Path, checkpoint: Path) -> None:
    command = ("images", good, "--output", OUT, "--model", checkpoint, "--quiet")
    mask = np.zeros((64, 30), np.uint8)
    mask[10:20, 5:15] = 7
    sitk.WriteImage(sitk.GetImageFromArray(mask), "mask.png")
    assert run(*command, "--prompt", good / "b.bmp", "--mask", "mask.png:7", "--object", "x", "--box", "2,2,20,40") == 0
    assert np.array_equal(read(OUT / "masks" / "b_bmp.png") == 1, mask == 7)
    first = {path.name: path.read_bytes() for path in (OUT / "masks").iterdir()}
    shutil.copy(OUT / "prompts.json", "kept.json")
    assert run(*command, "--prompts", "kept.json") == 0
    assert {path.name: path.read_bytes() for path in (OUT / "masks").iterdir()} == first
    assert json.loads((OUT / "prompts.json").read_text(encoding="utf-8")) == json.loads(
        Path("kept.json").read_text(encoding="utf-8")
    )
    assert run(*command, "--prompts", "kept.json", "--prompt", good / "a1.png", "--box", "8,8,36,30") == 0
    assert {path.name: path.read_bytes() for path in (OUT / "masks").iterdir()} != first
    assert len(json.loads((OUT / "prompts.json").read_text(encoding="utf-8"))["prompts"]) == 3


def test_frames_of_a_file_are_images(run, tmp_path: Path, checkpoint: Path) -> None:
    pages = np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(pages), "cine.tif")
    command = ("images", "cine.tif", "--output", OUT, "--model", checkpoint, "--quiet")
    assert run(*command, "--prompt", "cine.tif@2", "--box", "8,8,36,30", "--order", "arrival") == 0
    assert sorted(path.name for path in (OUT / "masks").iterdir()) == [f"cine_000{frame}.png" for frame in range(3)]
    assert [row["prompted"] for row in rows()] == ["0", "0", "1"]


def test_stopping_keeps_what_is_done(run, capsys, monkeypatch, good: Path, checkpoint: Path) -> None:
    whole = ImageSetSession.steps

    def pressed(self: Any, stop: Any, progress: Any) -> Any:
        def count(done: int, planned: int) -> None:
            if done == 2:
                stop.cancel()

        return whole(self, stop, count)

    monkeypatch.setattr(image_run.ImageSetSession, "steps", pressed)
    prompt = ("--prompt", good / "a1.png", "--box", "8,8,36,30")
    assert run("images", good, "--output", OUT, "--model", checkpoint, "--quiet", *prompt) == 130
    assert "Interrupted: 2 images are done" in capsys.readouterr().err
    assert len(list((OUT / "masks").iterdir())) == 2
    assert len(rows()) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "There is no prompt"),
        (("--box", "1,2,3,4"), "--box 1,2,3,4 has no image: put --prompt FILE before it"),
        (("--prompt", "A", "--box", "1,2,3"), "--box '1,2,3' cannot be read: write 4 numbers"),
        (("--prompt", "A", "--point", "nan,1"), "cannot be read"),
        (("--prompt", "A", "--point", "99,1"), "--point 99,1: The prompt at x 99, y 1 is outside"),
        (("--prompt", "A", "--absent"), "'Segment_1' has no prompt in any image"),
        (("--prompt", "A", "--box", "1,2,9,9", "--absent"), "'Segment_1' has a prompt here and is said to be absent"),
        (("--prompt", "A", "--absent", "--point", "1,2"), "'Segment_1' has a prompt here and is said to be absent"),
        (("--prompt", "A@4", "--point", "1,1"), "There is no such frame: give one from 0 to 0"),
        (("--prompt", "none.png", "--point", "1,1"), "none.png: No such file"),
        (("--prompt", "A", "--mask", "B"), "The mask has 30 x 64 pixels but the image 48 x 40"),
        (("--prompt", "A", "--mask", "A:999"), "The mask marks no pixel with the label 999; it has 0, 1, 2, 3, 4, 5"),
        (("--prompt", "A", "--point", "1,1", "--window", "nonsense"), "Unknown window"),
        (("--prompts", "B"), "Cannot be read"),
        (("--prompts", "none.json"), "none.json: Cannot be read (No such file or directory): check the path"),
        (("--prompt", "A", "--mask", ""), "The path is empty"),
        (("--prompt", "FOLDER", "--point", "1,1"), "This is a folder: name the image in it that is prompted"),
        (("--prompt", "A", "--point", "1,1", "--model", ""), "The model has no name"),
        (("--prompt", "A", "--point", "1,1", "--output", "A"), "This is a file: give --output the name of a folder"),
        (("--prompt", "A", "--point", "1,1", "--model", "none"), "none"),
    ],
)
def test_refusals(run, capsys, good: Path, words: tuple[str, ...], says: str) -> None:
    names = {
        "A": good / "a1.png",
        "B": good / "b.bmp",
        "FOLDER": good,
        "A@4": f"{good / 'a1.png'}@4",
        "A:999": f"{good / 'a1.png'}:999",
    }
    assert run("images", good, "--quiet", "--output", OUT, *(names.get(word, word) for word in words)) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.startswith("medsam2: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "not an object"),
        ('{"prompts": [{"kind": "circle"}]}', "prompt 1.kind is 'circle': choose one of point"),
        ('{"prompts": [{"kind": "box", "numbers": [1], "image": "a", "object": "b"}]}', "give 4 for a box"),
        ('{"prompts": [{"kind": "point", "numbers": [1, 2], "image": 3, "object": "b"}]}', "not text"),
        ('{"prompts": [{"kind": "absent", "object": "b"}]}', "prompt 1 names no image: write the path"),
        ('{"prompts": [{"kind": "absent", "image": "", "object": "b"}]}', "prompt 1 names no image: write the path"),
        ('{"prompts": [{"kind": "absent", "image": ".", "object": "b"}]}', "prompt 1.image is ., which is not a file"),
        ('{"prompts": [{"kind": "absent", "image": "x.png", "object": "b"}]}', "1.image is x.png, which is not a file"),
        ('{"prompts": [{"kind": "mask", "image": "p.json", "object": "b"}]}', "prompt 1 names no mask: write the path"),
        (
            '{"prompts": [{"kind": "mask", "image": "p.json", "object": "b", "mask": "m.png:2"}]}',
            "prompt 1.mask is m.png, which is not a file: correct it, as seen from ",
        ),
    ],
)
def test_files_of_prompts_that_say_nothing(run, capsys, good: Path, content: str, says: str) -> None:
    Path("p.json").write_text(content, encoding="utf-8")
    assert run("images", good, "--output", OUT, "--prompts", "p.json") == 2
    assert says in capsys.readouterr().err


def test_files_of_prompts_name_masks_as_seen_from_their_folder(run, good: Path, checkpoint: Path) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[8:30, 8:30] = 2
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(good.parent / "m.png"))
    prompt = {"kind": "mask", "image": "photos/a1.png", "object": "b", "mask": "m.png:2"}
    (good.parent / "p.json").write_text(json.dumps({"prompts": [prompt]}), encoding="utf-8")
    common = ("images", good, "--output", OUT, "--model", checkpoint, "--quiet")
    assert run(*common, "--prompts", good.parent / "p.json") == 0
    assert run(*common, "--prompts", OUT / "prompts.json") == 0


def test_results_are_no_inputs_of_the_next_run(run, capsys, good: Path, checkpoint: Path) -> None:
    command = ("images", good, "--output", good / "out", "--model", checkpoint, "--quiet")
    for _ in range(2):
        assert run(*command, "--prompt", good / "a1.png", "--box", "8,8,36,30") == 0
        assert len(list((good / "out" / "masks").iterdir())) == 6
    assert run(*command, "--prompt", good / "out" / "masks" / "a1.png", "--box", "8,8,36,30") == 2
    assert "in the output folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--order", "arrival", "--memory", "recency")])
def test_a_seed_of_no_draws_is_refused(run, capsys, good: Path, checkpoint: Path, words: tuple[str, ...]) -> None:
    common = ("images", good, "--output", OUT, "--model", checkpoint, "--prompt", good / "a1.png", "--point", "9,9")
    assert run(*common, *words, "--seed", "0") == 2
    assert "--seed has no effect" in capsys.readouterr().err
    assert run(*common, "--order", "arrival", "--seed", "-3") == 2
    assert "-3 cannot be a seed" in capsys.readouterr().err
    assert run(*common, "--order", "arrival", "--seed", "3", "--quiet") == 0


def test_one_image_is_no_images(run, capsys, good: Path, checkpoint: Path) -> None:
    image = good / "a1.png"
    assert run("images", image, "--output", OUT, "--model", checkpoint, "--prompt", image, "--box", "8,8,36,30") == 0
    assert "1 of 1 image with an object." in capsys.readouterr().out


def test_a_full_disk_is_told_and_ends_no_process(run, capsys, monkeypatch, good: Path, checkpoint: Path) -> None:
    def full(*_: object) -> None:  # a map onto it would end the process with SIGBUS
        raise OSError(errno.ENOSPC, "No space left on device")

    (good / "b.bmp").unlink()
    for name in ("c.jpg", "d.nii"):
        (good / name).unlink()
    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    words = ("--prompt", good / "a1.png", "--box", "5,5,30,30", "--output", "out", "--model", checkpoint)
    assert run("images", good, *words, "--quiet") == 2
    assert "There is not enough space for the masks (No space left" in capsys.readouterr().err
    assert not any(path.is_file() for path in Path("out").rglob("*"))
