"""`medsam2 batch` from a table to a report, with worker processes, random weights and small volumes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from patience import CEILING

BOX = "8,8,36,30@5"
COMMAND = [sys.executable, "-c", "from medsam2_core.cli.main import run; raise SystemExit(run())"]
OUT = Path("out")


def write_table(rows: Sequence[Sequence[object]], columns: Sequence[str] = ("case", "image", "box", "model")) -> Path:
    path = Path("cohort.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def same(one: Any, other: Any) -> bool:
    """Whether two reports say the same but for how long it took."""
    timed = ("seconds", "slices_per_second")
    return {key: one[key] for key in one if key not in timed} == {key: other[key] for key in other if key not in timed}


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_case_gives_the_bytes_of_propagate(
    run, capsys, ct: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in this process: sums of another number of threads differ in their last bit.
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    table = write_table(
        [
            ("p1", ct, "ball", BOX, "", checkpoint, "2:9", "zoom", "20"),
            ("p1", ct, "rest", "", "40,35,4 41,34,4", "", "", "", ""),
            ("p2", ct, "ball", BOX, "", checkpoint, "", "", ""),
        ],
        ("case", "image", "object", "box", "point", "model", "range", "Field of view", "stop_change"),
    )
    assert run("batch", table, "--output", OUT, "--window", "20/180", "--memory", "self-sorting:4") == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "1/2 p1", "2/2 p2", "2 of 2 cases done; models were loaded 1 time.", f"Written: {OUT / 'index.html'}",
    ]  # fmt: skip
    assert err == ""
    shared = (
        "--window",
        "20/180",
        "--memory",
        "self-sorting:4",
        "--model",
        checkpoint,
        "--quiet",
        "--report",
        "r.json",
    )
    assert run(
        "propagate", ct, "--output", "one.seg.nrrd", "--report", "r.json", *shared,
        "--range", "2:9", "--field-of-view", "zoom",
        "--stop-change", "20", "--object", "ball", "--box", BOX,
        "--object", "rest", "--point", "40,35,4", "--point", "41,34,4",
    ) == 0  # fmt: skip
    assert (OUT / "p1/segmentation.seg.nrrd").read_bytes() == Path("one.seg.nrrd").read_bytes()
    assert same(read(OUT / "p1/report.json"), read(Path("r.json")))
    note = read(OUT / "p2/done.json")
    assert run(*note["command"][1:], "--output", "two.seg.nrrd", "--quiet") == 0
    assert (OUT / "p2/segmentation.seg.nrrd").read_bytes() == Path("two.seg.nrrd").read_bytes()


def test_a_limit_of_kept_features_that_is_none_is_no_fault_of_each_case(
    run, capsys, ct: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSAM2_FEATURES", "features")
    monkeypatch.setenv("MEDSAM2_FEATURES_GB", "ten")
    assert run("batch", write_table([("a", ct, BOX, checkpoint)]), "--output", OUT) == 2
    assert capsys.readouterr().err.startswith("medsam2: MEDSAM2_FEATURES_GB is 'ten': give a number")
    assert not OUT.exists()


def test_nothing_runs_while_the_table_is_wrong(run, capsys, ct: Path, checkpoint: Path) -> None:
    table = write_table(
        [("a", ct, "1,2", checkpoint), ("b", "none.nrrd", BOX, checkpoint), ("c", ct, "8,8,9,9@99", "no")]
    )
    assert run("batch", table, "--output", OUT) == 2
    err = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in err] == [
        "row 2, box", "row 3, image", "row 4, model", "row 4, box", "medsam2",
    ]  # fmt: skip
    assert err[-1] == "medsam2: cohort.csv has 4 problems, and nothing was run: correct them."
    assert not OUT.exists()
    assert run("batch", write_table([("a", ct, BOX, checkpoint)]), "--check") == 0
    assert capsys.readouterr().out == "cohort.csv: 1 case, and nothing is wrong.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Give a table and --output DIR"),
        (("cohort.csv",), "Give a table and --output DIR"),
        (("none.csv", "--output", "out"), "none.csv: Cannot be read"),
        (("cohort.csv", "--output", "out", "--part", "3/2"), "'3/2' is not a part"),
        (("cohort.csv", "--output", "out", "--workers", "0"), "'0' is not a number of processes"),
        (("cohort.csv", "--output", "cohort.csv"), "cohort.csv cannot be created"),
        (("cohort.csv", "--output", "out", "--cluster", "ssh"), "--cluster ssh and --hosts A,B belong together"),
        (
            ("cohort.csv", "--output", "out", "--cluster", "local", "--hosts", "a"),
            "--cluster ssh and --hosts A,B belong together",
        ),
        (("cohort.csv", "--output", "out", "--cluster", "ssh", "--hosts", "a,"), "'a,' is not a list of hosts"),
        (("cohort.csv", "--output", "out", "--cluster", "local", "--scheduler", "x"), "give it or --scheduler"),
        (("--init", "nowhere"), "nowhere: Cannot be read"),
        (("--init", "."), "cohort.csv: There is a table already"),
        (("--init", ".", "--output", "../t.csv"), "Files in a table are relative to it"),
        (("--init", "empty"), "empty: It holds no image"),
    ],
)
def test_commands_that_are_refused(run, capsys, ct: Path, checkpoint: Path, words: Sequence[str], said: str) -> None:
    write_table([("a", ct, BOX, checkpoint)])
    Path("empty").mkdir()
    assert run("batch", *words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_table_to_fill_in(run, capsys, ct: Path) -> None:
    folder = Path("cts")
    for name in ("b", "a"):
        (folder / name).mkdir(parents=True)
        shutil.copy(ct, folder / name / "image.nrrd")
    shutil.copy(ct, folder / "c.nrrd")
    (folder / "c.mrk.json").write_text("{}", encoding="utf-8")
    (folder / "a" / "old.seg.nrrd").write_bytes(b"")
    assert run("batch", "--init", folder) == 0
    assert "3 rows. Fill in" in capsys.readouterr().out
    with (folder / "cohort.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["image"], row["markups"]) for row in rows] == [
        ("a", "a/image.nrrd", ""), ("b", "b/image.nrrd", ""), ("c", "c.nrrd", "c.mrk.json"),
    ]  # fmt: skip
    assert run("batch", folder / "cohort.csv", "--check") == 2
    err = capsys.readouterr().err
    assert err.count("There is no prompt") == 2


def test_a_failed_case_leaves_exit_code_3(run, capsys, ct: Path, checkpoint: Path) -> None:
    Path("bad.nrrd").write_bytes(ct.read_bytes()[:2000])
    table = write_table([("good", ct, BOX, checkpoint), ("bad", "bad.nrrd", BOX, checkpoint)])
    for words, runs in (((), 1), ((), 0), (("--retry-failed",), 1)):
        assert run("batch", table, "--output", OUT, *words) == 3
        out, err = capsys.readouterr()
        assert err.count("bad: failed: ") == runs
        assert "1 of 2 cases done, 1 failed (try them again with --retry-failed)" in out
        assert ("1 of 2 cases are done already, and 1 failed before." in out) == (runs == 0)


class Running:
    """The command in a process of its own, which can be killed."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
        )

    def workers(self) -> list[int]:
        """The worker processes, by what Linux knows of their parents."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            found = [int(pid) for pid in children.read_text(encoding="ascii").split()]
        except OSError:
            return []
        return [pid for pid in found if b"spawn_main" in _command_of(pid)]

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=CEILING)
        assert "Traceback" not in err
        return self.process.returncode, out, err


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_for(reached: Callable[[], Any]) -> Any:
    end = time.monotonic() + CEILING
    while not (found := reached()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes as Linux shows them")


@linux
def test_a_worker_that_is_killed_is_replaced(run, ct: Path, checkpoint: Path) -> None:
    table = write_table([(f"p{place}", ct, BOX, checkpoint) for place in range(4)])
    batch = Running("batch", table, "--output", OUT)
    wait_for(lambda: (OUT / "p0/done.json").exists())
    os.kill(batch.workers()[0], signal.SIGKILL)
    code, out, err = batch.end()
    assert (code, err) == (0, "")
    assert "4 of 4 cases done" in out
    assert sorted(path.name for path in OUT.iterdir()) == [
        "index.html",
        *(f"p{n}" for n in range(4)),
        "summary.csv",
        "summary.json",
    ]


@linux
def test_a_case_that_kills_its_worker_three_times_is_given_up(run, ct: Path, checkpoint: Path) -> None:
    table = write_table([("bomb", ct, BOX, checkpoint), ("good", ct, BOX, checkpoint)])
    batch, killed = Running("batch", table, "--output", OUT), set[int]()
    claims = OUT / ".cohort/claims"

    def bombed() -> bool:
        held = [read(path)["pid"] for path in claims.glob("bomb.*")] if claims.exists() else []
        for pid in {pid for pid in held if pid in batch.workers()} - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        return len(killed) == 3

    wait_for(bombed)
    code, _, err = batch.end()
    assert code == 3
    assert "bomb: failed: The worker process ended 3 times in this case (it got SIGKILL)" in err
    assert (OUT / "good/done.json").exists()
    assert not list(OUT.rglob("bomb.*.old"))


@linux
def test_an_interruption_keeps_what_is_done(run, ct: Path, checkpoint: Path) -> None:
    table = write_table([(f"p{place}", ct, BOX, checkpoint) for place in range(30)])
    batch = Running("batch", table, "--output", OUT)
    wait_for(lambda: (OUT / "p0/done.json").exists())
    batch.process.send_signal(signal.SIGTERM)
    code, _, err = batch.end()
    assert code == 130
    assert "of 30 cases are done; the same command goes on." in err
    assert list((OUT / ".cohort/claims").iterdir()) == list((OUT / ".cohort/work").iterdir()) == []
    done = len(list(OUT.glob("*/done.json")))
    assert 1 <= done < 30
    assert (OUT / "index.html").exists()


@linux
def test_workers_end_with_their_coordinator(run, ct: Path, checkpoint: Path) -> None:
    table = write_table([(f"p{place}", ct, BOX, checkpoint) for place in range(50)])
    batch = Running("batch", table, "--output", OUT)
    wait_for(lambda: (OUT / "p0/done.json").exists())
    (worker,) = batch.workers()
    batch.process.kill()
    batch.process.communicate()
    wait_for(lambda: not _command_of(worker))
    assert len(list(OUT.glob("*/done.json"))) < 50


@linux
def test_parts_share_a_cohort_and_take_over_what_a_killed_one_had(run, ct: Path, checkpoint: Path) -> None:
    names = [f"p{place}" for place in range(12)]
    table = write_table([(name, ct, BOX, checkpoint) for name in names])
    one, other = (Running("batch", table, "--output", OUT, "--part", part) for part in ("1/2", "2/2"))
    wait_for(lambda: any(_owner(path) in one.workers() for path in OUT.glob(".cohort/claims/*.1")))
    for pid in (one.process.pid, *one.workers()):
        os.kill(pid, signal.SIGKILL)
    third = Running("batch", table, "--output", OUT, "--part", "1/2")
    said = one.process.communicate()[0]
    for part in (other, third):
        code, out, err = part.end()
        assert (code, err) == (0, "")
        said += out
    ran = [line.split()[1] for line in said.splitlines() if "/12 p" in line]
    assert len(ran) == len(set(ran))
    assert sorted(path.parent.name for path in OUT.glob("*/done.json")) == sorted(names)
    assert not (OUT / ".cohort").exists()
    assert len({path.read_bytes() for path in OUT.glob("*/segmentation.seg.nrrd")}) == 1


def _owner(claim: Path) -> int:
    try:
        return int(read(claim)["pid"])
    except (OSError, ValueError):
        return 0


@linux
def test_killed_with_all_its_workers_and_started_again(run, ct: Path, checkpoint: Path) -> None:
    names = [f"p{place}" for place in range(6)]
    table = write_table([(name, ct, BOX, checkpoint) for name in names])
    for number in range(3):
        batch = Running("batch", table, "--output", OUT, "--workers", "2")
        wait_for(lambda number=number: len(list(OUT.glob("*/done.json"))) > number)
        for pid in (batch.process.pid, *batch.workers()):
            os.kill(pid, signal.SIGKILL)
        batch.process.communicate()
    assert run("batch", table, "--output", OUT, "--quiet") == 0
    assert sorted(path.parent.name for path in OUT.glob("*/done.json")) == names
    assert not (OUT / ".cohort").exists()
