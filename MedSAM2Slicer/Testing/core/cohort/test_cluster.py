"""A cohort as tasks of a Dask scheduler, with real workers, one of which is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from patience import CEILING

from medsam2_core.cohort.cases import Case
from medsam2_core.cohort.cluster import Scheduler
from medsam2_core.cohort.cohort import finish, start
from medsam2_core.cohort.table import Problem
from medsam2_core.errors import WorkerError
from medsam2_core.stopping import CancelToken

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")

Made = Callable[..., tuple[list[Case], list[Problem]]]
BOX = "8,6,28,26@4"


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The file of a scheduler with two workers."""
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    commands = [
        ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common],
        *[["dask_worker", "--nthreads", "1", "--local-directory", str(tmp_path), *common]] * 2,
    ]
    started = []
    for name, *words in commands:
        log = (tmp_path / f"{name}{len(started)}.log").open("wb")
        words = [sys.executable, "-m", f"distributed.cli.{name}", *words]
        started.append(subprocess.Popen(words, stdout=log, stderr=log, env=environment))
        log.close()
        end = time.monotonic() + CEILING
        while not file.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
    yield str(file)
    for process in reversed(started):
        process.terminate()
        process.wait()


def test_a_cohort_on_a_cluster_with_a_worker_that_is_killed(
    made: Made, tmp_path: Path, checkpoint: Path, scheduler: str
) -> None:
    rows = [{"case": f"p{n}", "image": "a.nrrd", "box": BOX, "model": str(checkpoint)} for n in range(8)]
    cases, _ = made(*rows, {"case": "bad", "image": "c.mha", "box": BOX, "model": str(checkpoint)})
    Path(cases[-1].image).write_bytes(b"no image")
    results = start(tmp_path / "out", cases, retry=False)
    told: list[tuple[str, str | None]] = []
    killed: list[int] = []

    def say(case: Case, failed: str | None) -> None:
        told.append((case.name, failed))
        for path in [] if killed else results.claims_folder.glob("*.1"):
            with suppress(OSError, ValueError, KeyError):
                killed.append(json.loads(path.read_bytes())["pid"])
                os.kill(killed[0], signal.SIGKILL)
                break

    engine = Scheduler(results, scheduler, CancelToken(), say)
    engine.run(cases)
    assert len(killed) == 1
    assert sorted(name for name, _ in told) == sorted(case.name for case in cases)
    failed = {name: sentence for name, sentence in told if sentence}
    assert list(failed) == ["bad"]
    assert "Cannot be read as an image" in str(failed["bad"])
    assert finish(results, cases) == (8, 1)
    assert 2 <= engine.loads <= 3  # once in each worker, and in the one that came for the killed one
    assert len({path.read_bytes() for path in (tmp_path / "out").glob("*/segmentation.seg.nrrd")}) == 1
    assert list((tmp_path / "out").glob(".cohort/claims/*")) == []


def test_no_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsam2_core.cohort import cluster
    from medsam2_core.cohort.results import Results

    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    for address in ("tcp://127.0.0.1:9", str(tmp_path / "none.json"), "nonsense://x"):
        with pytest.raises(WorkerError, match="No Dask scheduler answers at"):
            Scheduler(Results(tmp_path), address, CancelToken(), lambda *_: None).run([])


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medsam2_core.cohort.results import Results

    missing: Any = None
    monkeypatch.setitem(sys.modules, "distributed", missing)
    with pytest.raises(WorkerError, match=r"medsam2slicer\[cluster\]"):
        Scheduler(Results(tmp_path), "tcp://127.0.0.1:9", CancelToken(), lambda *_: None).run([])
