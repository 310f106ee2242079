"""Killed at any moment, a cohort is finished by the next run, as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medsam2_core.cohort import machine
from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.claims import Claims
from medsam2_core.cohort.cohort import finish, start
from medsam2_core.cohort.running import Models
from medsam2_core.cohort.table import Problem
from medsam2_core.cohort.worker import Worker
from medsam2_core.job import execute
from medsam2_core.stopping import CancelToken

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks, so as not to load torch for each run")

Made = Callable[..., tuple[list[Case], list[Problem]]]
BOX = "8,6,28,26@4"
CHANGES = ("os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir")
RANDOM_KILLS = 30


@pytest.fixture
def cases(made: Made, checkpoint: Path, single_thread: None) -> list[Case]:
    """Two of as few slices as propagate, since each is run some hundred times."""
    cells = {"box": BOX, "model": str(checkpoint), "range": "4:6"}
    found, _ = made(*({"image": name, **cells} for name in ("a.nrrd", "b.nii.gz")))
    return found


def run(output: Path, cases: list[Case], models: Models) -> list[str]:
    """A whole run in this process; the cases that it ran. A model that is loaded already spares time."""
    results, told = start(output, cases, retry=False), list[str]()
    claims = Claims(results.claims_folder)
    worker = Worker(results, claims, CancelToken(), lambda case, failed: told.append(f"{case.name}{failed or ''}"))
    worker.models = models
    worker.run(cases)
    finish(results, cases)
    return told


def forked(work: Callable[[], object]) -> int:
    """Do work in a process of its own."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def kill_at_change(number: int, output: Path) -> None:
    """Have this process kill itself before it changes the folder for the n-th time: by rename, link or removal, or by
    opening a file to write.
    """
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in CHANGES or writes) and str(output) in str(arguments[0]):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def killed_after(seconds: float, work: Callable[[], object]) -> bool:
    """Do work in a process that is killed after a time; whether it was still at it."""
    pid = forked(work)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return status != 0


def content(output: Path) -> dict[str, Any]:
    """All files by their names; without dates and times."""
    found: dict[str, Any] = {}
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.suffix == ".json" and path.parent != output:
            noted = json.loads(path.read_text(encoding="utf-8"))
            for key in ("finished", "seconds", "slices_per_second"):
                noted.pop(key, None)
            found[name] = noted
        elif path.parent != output:  # the report tells how long it took
            found[name] = path.read_bytes() if path.is_file() else None
        else:
            found[name] = None
    return found


@pytest.fixture
def undisturbed(cases: list[Case], tmp_path: Path) -> tuple[dict[str, Any], Models, float]:
    """What a run gives that nobody kills, its model, and how long it took with that."""
    models = Models()
    run(tmp_path / "whole", cases, models)
    shutil.rmtree(tmp_path / "whole")
    started = time.monotonic()
    assert run(tmp_path / "whole", cases, models) == ["a", "b"]
    return content(tmp_path / "whole"), models, time.monotonic() - started


def test_killed_at_every_change_of_the_disk(cases: list[Case], tmp_path: Path, undisturbed: Any) -> None:
    wanted, models, _ = undisturbed
    cases, wanted = cases[:1], {name: value for name, value in wanted.items() if not name.startswith("b")}
    output, number, kills = tmp_path / "out", 0, 0
    while True:
        number += 1
        shutil.rmtree(output, ignore_errors=True)
        _, status = os.waitpid(forked(lambda at=number: (kill_at_change(at, output), run(output, cases, models))), 0)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        kills += 1
        done = {path.parent.name for path in output.glob("*/done.json")}
        ran = run(output, cases, models)
        assert done.isdisjoint(ran), number
        assert content(output) == wanted, number
    assert kills > 30


def test_killed_at_random_moments_and_started_again(cases: list[Case], tmp_path: Path, undisturbed: Any) -> None:
    wanted, models, seconds = undisturbed
    output, chance, kills = tmp_path / "out", random.Random(7), 0
    while kills < RANDOM_KILLS:
        kills += killed_after(chance.uniform(0, seconds), lambda: run(output, cases, models))
        if len(list(output.glob("*/done.json"))) == len(cases):
            run(output, cases, models)
            assert content(output) == wanted
            shutil.rmtree(output)
    run(output, cases, models)
    assert content(output) == wanted


def coordinate(output: Path, cases: list[Case], told: Path) -> None:
    """What `medsam2 batch` does between its table and its exit code; which cases ran is told in a file."""
    results = start(output, cases, retry=False)

    def say(case: Case, failed: str | None) -> None:
        with told.open("a", encoding="utf-8") as file:
            file.write(f"{case.name}{failed or ''}\n")

    machine.Machine(results, [{}], machine.Share(), CancelToken(), say).run(
        [case for case in cases if not results.is_settled(case)]
    )
    finish(results, cases)


def test_the_coordinator_killed_at_random_moments_and_started_again(
    cases: list[Case], tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker process ends by itself then. Both are forked here, so as not to load torch for each run."""
    context = multiprocessing.get_context("fork")
    monkeypatch.setattr(machine.multiprocessing, "get_context", lambda _: context)
    wanted, _, _ = undisturbed
    output, told = tmp_path / "out", tmp_path / "told"
    started = time.monotonic()
    coordinate(output, cases, told)
    seconds, chance, kills = time.monotonic() - started, random.Random(11), 0
    while kills < RANDOM_KILLS:
        done = {path.parent.name for path in output.glob("*/done.json")}
        if len(done) == len(cases):
            coordinate(output, cases, told)  # which tidies up
            assert content(output) == wanted
            shutil.rmtree(output)
            done.clear()
        told.write_text("", encoding="utf-8")
        kills += killed_after(chance.uniform(0, seconds), lambda: coordinate(output, cases, told))
        assert done.isdisjoint(told.read_text(encoding="utf-8").split())
    coordinate(output, cases, told)
    assert content(output) == wanted


def test_a_case_makes_no_progress_bar(
    cases: list[Case], tmp_path: Path, undisturbed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of tqdm's bars, left by a process that was killed, held up all that were forked later."""
    monkeypatch.setattr(execute, "tqdm", None)
    _, models, _ = undisturbed
    assert run(tmp_path / "out", cases, models) == [case.name for case in cases]
