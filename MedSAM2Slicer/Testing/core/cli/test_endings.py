"""Whatever ends a command ends it in one sentence and loses nothing: paths, streams, memory, disks and signals."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from medsam2_core import io
from medsam2_core.cli import models
from medsam2_core.image.geometry import Geometry
from medsam2_core.io.png import gray_png

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits, signals and names of bytes are POSIX")

COMMAND = [sys.executable, "-c", "from medsam2_core.cli.main import run; raise SystemExit(run())"]
BOX = ("--box", "8,8,36,30@5")


def medsam2(*words: object, before: Callable[[], None] | None = None, **environment: str) -> tuple[int, str, str]:
    """Exit code, output and errors of the command line in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *(os.fsencode(str(word)) for word in words)],
        capture_output=True,
        env={**os.environ, **environment},
        preexec_fn=before,
        timeout=120,
        check=False,
    )
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert "Traceback" not in err
    assert "Fatal" not in err
    return done.returncode, out, err


def assert_sentence(run: Callable[..., int], capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run(*words) == 2
    _, err = capsys.readouterr()
    assert err.startswith("medsam2: ")
    assert err.endswith(".\n")
    assert err.count("\n") == 1
    return err


# Paths


LONG = "x" * 300 + ".nii"


@pytest.mark.parametrize(
    "words",
    [
        ("info", LONG),
        ("info", "CT/" + LONG),
        ("propagate", LONG, *BOX, "--output", "a.nii"),
        ("propagate", "CT", *BOX, "--output", LONG),
        ("propagate", "CT", *BOX, "--output", "a.nii", "--report", LONG + ".json"),
        ("propagate", "CT", "--mask", LONG, "--output", "a.nii"),
        ("propagate", "CT", *BOX, "--stop-outside", LONG, "--output", "a.nii"),
        ("propagate", "CT", *BOX, "--prompts", LONG, "--output", "a.nii"),
        ("propagate", "CT", *BOX, "--model", LONG, "--output", "a.nii"),
        ("train", LONG, "--output", "x"),
        ("models", "import", LONG),
    ],
)
def test_names_that_are_too_long(run, capsys, ct: Path, words: Sequence[str]) -> None:
    assert_sentence(run, capsys, *(ct if word == "CT" else word for word in words))


def test_pipes_and_devices_are_not_waited_for(run, capsys) -> None:
    os.mkfifo("pipe.nrrd")
    for path in ("pipe.nrrd", "/dev/zero", "/dev/null"):
        assert "neither a file nor a folder" in assert_sentence(run, capsys, "info", path)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to give its rights away")
def test_folders_that_may_not_be_looked_at(tmp_path: Path, ct: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    shutil.copy(ct, locked / "ct.nrrd")
    locked.chmod(0)
    drop = [
        "setpriv",
        "--bounding-set",
        "-dac_override,-dac_read_search",
        "--inh-caps",
        "-dac_override,-dac_read_search",
    ]
    for words in (["info", locked / "ct.nrrd"], ["info", locked], ["models", "list"]):
        environment = {**os.environ, "MEDSAM2_HOME": str(locked)}
        done = subprocess.run(
            [*drop, *COMMAND, *map(str, words)], capture_output=True, encoding="utf-8", env=environment
        )
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
    locked.chmod(0o555)  # a home that may be read only
    words = [str(ct), *BOX, "--model", "starter", "--output", str(tmp_path / "a.nii"), "--quiet"]
    for command in (["models", "list"], ["propagate", *words]):
        done = subprocess.run([*drop, *COMMAND, *command], capture_output=True, encoding="utf-8", env=environment)
        assert done.returncode == 0, done.stderr
    locked.chmod(0o700)


def test_a_name_that_is_no_utf8(run, capsysbinary, ct: Path) -> None:
    name = os.fsdecode(b"caf\xe9.nrrd")
    try:
        shutil.copy(ct, name)
    except OSError:
        pytest.skip("this disk takes no such names")
    assert run("info", name) == 2
    assert b"not UTF-8: rename it" in capsysbinary.readouterr().err
    assert run("propagate", ct, *BOX, "--output", name) == 2
    assert b"not UTF-8: choose another" in capsysbinary.readouterr().err
    geometry = io.read_volume(ct).geometry
    io.write_labelmap("a.nii", np.ones(geometry.shape_kji, np.uint8), geometry)
    shutil.copy("a.nii", name := os.fsdecode(b"caf\xe9.nii"))
    assert run("info", name) == 0  # read without ITK


# Streams


def test_letters_that_the_output_cannot_show(tmp_path: Path) -> None:
    grid = Geometry((3, 4, 5), (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    path = tmp_path / "a.seg.nrrd"
    io.write_labelmap(path, np.ones((3, 4, 5), np.uint8), grid, [io.Segment("肝臓", 1, (1, 0, 0))])
    code, out, err = medsam2("info", path, PYTHONIOENCODING="cp1252")
    assert (code, err) == (0, "")
    assert "\\u809d\\u81d3, 0.1 mL" in out


def test_a_reader_that_leaves_is_no_fault() -> None:
    for words in ("models list", "--help"):
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        command = [*COMMAND, *words.split()]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read().decode()
        process.stderr.close()
        assert process.wait() == 0
        assert "rror" not in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_note_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(gray_png(np.zeros((40, 40), np.uint8)))
    (tmp_path / "c.webp").write_bytes(b"RIFF")  # which is worth a note
    words = ["images", tmp_path, "--prompt", tmp_path / "a.png", "--box", "5,5,30,30", "--output", tmp_path / "out"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run([*COMMAND, *map(str, words), "--quiet"], stderr=full, check=False)
    assert done.returncode == 0
    assert (tmp_path / "out" / "masks" / "a.png").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_is_full() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [*COMMAND, "models", "list"], stdout=full, stderr=subprocess.PIPE, encoding="utf-8", check=False
        )
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


# Memory and disks


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "There is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "There is not enough memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "There is not enough memory"),  # Windows
        (PermissionError(13, "Permission denied", "/secret"), "/secret: Permission denied"),
        (ImportError("libtorch.so: failed to map segment"), "A component cannot be loaded"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(run, capsys, monkeypatch, error: Exception, words: str) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(models, "_open_store", fail)
    assert words in assert_sentence(run, capsys, "models", "list")


def test_a_limit_below_what_torch_takes_is_said_before_it_is_loaded(tmp_path: Path, ct: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (900_000_000,) * 2)

    code, _, err = medsam2("propagate", ct, *BOX, "--output", tmp_path / "a.nii", before=limit)
    assert code == 2
    assert err == (
        "medsam2: The limit on memory is 900 MB and PyTorch alone takes 1250 MB of address space: raise it (ulimit "
        "-v).\n"
    )


def test_memory_for_the_result_is_looked_for_first(run, capsys, monkeypatch, ct: Path, checkpoint: Path) -> None:
    monkeypatch.setattr("medsam2_core.job.execute.free_bytes", lambda: 1000)
    err = assert_sentence(run, capsys, "propagate", ct, *BOX, "--model", checkpoint, "--output", "a.nii", "--quiet")
    assert "The label map will need 0 MB of memory at the end, and 0 MB are free: close other programs" in err
    assert list(Path().iterdir()) == []


def test_room_for_the_result_is_taken_first(run, capsys, monkeypatch, ct: Path, checkpoint: Path) -> None:
    def full(_handle: int, _start: int, size: int) -> None:
        raise OSError(28, os.strerror(28)) if size > 10_000 else None

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    for output in ("a.nii", "a.seg.nrrd"):
        err = assert_sentence(run, capsys, "propagate", ct, *BOX, "--model", checkpoint, "--output", output, "--quiet")
        assert f"{output}: There is not enough space to write it (No space left on device)" in err
    assert list(Path().iterdir()) == []


def test_a_result_that_finds_no_room_in_the_end_is_kept_elsewhere(
    run, capsys, monkeypatch, tmp_path: Path, ct: Path, checkpoint: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "elsewhere"))
    whole = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.parent == Path.cwd():
            raise OSError(28, os.strerror(28))
        return whole(path, target)

    monkeypatch.setattr(Path, "replace", full)
    err = assert_sentence(run, capsys, "propagate", ct, *BOX, "--model", checkpoint, "--output", "a.nii", "--quiet")
    kept = Path(err.split("kept in ")[1].rstrip(".\n"))
    assert io.read_labelmap(kept).shape == (10, 40, 48)
    assert list(Path().iterdir()) == []


# Kills


WRITE = """
import sys, time
import numpy as np
from medsam2_core.io import open_draft
draft = open_draft(sys.argv[1], 1000)
print("open", flush=True)
time.sleep(60)
"""


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    io.check_output_path(path)
    assert len(list(tmp_path.iterdir())) == 1  # that of a living run stays
    process.kill()
    process.wait()
    process.stdout.close()
    io.check_output_path(path)
    assert list(tmp_path.iterdir()) == []
