"""A cohort as tasks of a Dask scheduler, with real workers, one of which is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from patience import CEILING

from medsam2_core.cohort import clients
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
    """The file of a scheduler with two workers, which nobody starts again."""
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    commands = [
        ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", *common],
        *[["dask_worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path), *common]] * 2,
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


def kill_one(claims: Path, killed: list[int]) -> None:
    """Kill the holder of a claim, once."""
    for path in [] if killed else claims.glob("*.1"):
        with suppress(OSError, ValueError, KeyError):
            killed.append(json.loads(path.read_bytes())["pid"])
            os.kill(killed[0], signal.SIGKILL)
            break


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
        kill_one(results.claims_folder, killed)

    engine = Scheduler(results, partial(clients.scheduler_client, scheduler), CancelToken(), say)
    engine.run(cases)
    assert len(killed) == 1
    assert sorted(name for name, _ in told) == sorted(case.name for case in cases)
    failed = {name: sentence for name, sentence in told if sentence}
    assert list(failed) == ["bad"]
    assert "Cannot be read as an image" in str(failed["bad"])
    assert finish(results, cases) == (8, 1)
    assert 1 <= engine.loads <= 2  # once in each worker that ended a case
    assert len({path.read_bytes() for path in (tmp_path / "out").glob("*/segmentation.seg.nrrd")}) == 1
    assert list((tmp_path / "out").glob(".cohort/claims/*")) == []


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "none.json", "nonsense://x"])
def test_no_scheduler(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(WorkerError, match="No Dask scheduler answers at"), clients.scheduler_client(address):
        pass


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "distributed", missing)
    with pytest.raises(WorkerError, match=r"medsam2slicer\[cluster\]"), clients.local_client(1):
        pass


@pytest.fixture
def many(made: Made, checkpoint: Path) -> list[Case]:
    """Four cases that are alike."""
    rows = [{"case": f"p{n}", "image": "a.nrrd", "box": BOX, "model": str(checkpoint)} for n in range(4)]
    return made(*rows)[0]


def ran(output: Path, cases: list[Case], connect: Callable[[], AbstractContextManager[Any]]) -> dict[str, str | None]:
    """Run cases, each of which is told once; why each failed, or None."""
    results, told = start(output, cases, retry=False), list[tuple[str, str | None]]()
    engine = Scheduler(results, connect, CancelToken(), lambda case, failed: told.append((case.name, failed)))
    engine.run(cases)
    finish(results, cases)
    assert sorted(name for name, _ in told) == [case.name for case in cases]
    assert list(output.glob(".cohort/claims/*")) == []
    assert len({path.read_bytes() for path in output.glob("*/segmentation.seg.nrrd")}) == 1
    return dict(told)


def test_a_case_that_takes_down_three_workers_is_given_up(
    many: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hook that Python installs when it starts ends each process that begins the case; others come in its place."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(KILLED_BY_ITS_CASE, encoding="utf-8")
    deaths = tmp_path / "deaths"
    monkeypatch.setenv("MEDSAM2_TEST_DEATHS", str(deaths))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    told = ran(tmp_path / "out", many, partial(clients.local_client, 2))
    failed = {name: sentence for name, sentence in told.items() if sentence}
    assert list(failed) == ["p2"]
    assert "Dask's workers ended again and again in this case" in str(failed["p2"])
    assert len(deaths.read_text(encoding="utf-8").split()) == 3


KILLED_BY_ITS_CASE = """
import os, signal, sys

def hook(event, arguments):
    if event == "os.mkdir" and os.path.basename(str(arguments[0])).startswith("p2."):
        with open(os.environ["MEDSAM2_TEST_DEATHS"], "a") as file:
            print(os.getpid(), file=file)
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
"""


@pytest.fixture
def sshd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on this machine that lets in with a key; the host's name that ~/.ssh/config gives it."""
    pytest.importorskip("asyncssh", reason="medsam2slicer[cluster] is not installed")
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("sshd of Debian's openssh-server is not installed")
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    home.chmod(0o700)
    for name in ("host", ".ssh/id_ed25519"):
        command = [str(shutil.which("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-f", str(home / name)]
        subprocess.run(command, check=True)
    shutil.copy(home / ".ssh/id_ed25519.pub", home / "authorized")
    port = _free_port()
    key = (home / "host.pub").read_text(encoding="utf-8")
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {key}", encoding="utf-8")
    (home / ".ssh/config").write_text(f"Host cohort-test\n  HostName 127.0.0.1\n  Port {port}\n", encoding="utf-8")
    (home / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nAuthorizedKeysFile {home}/authorized\n"
        f"PidFile {home}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n",
        encoding="utf-8",
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # which Debian's server wants to change its root to
    monkeypatch.setenv("HOME", str(home))
    server = subprocess.Popen([program, "-D", "-e", "-f", str(home / "sshd_config")], stderr=subprocess.DEVNULL)
    _wait_for(port)
    yield "cohort-test"
    server.terminate()
    server.wait()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def _wait_for(port: int) -> None:
    end = time.monotonic() + CEILING
    with socket.socket() as tried:
        while tried.connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_cluster_by_ssh(many: list[Case], tmp_path: Path, sshd: str) -> None:
    told = ran(tmp_path / "out", many[:3], partial(clients.ssh_client, [sshd]))
    assert told == {"p0": None, "p1": None, "p2": None}


def test_a_host_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("asyncssh", reason="medsam2slicer[cluster] is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    with (
        pytest.raises(
            WorkerError, match=r"workers could not be started on nowhere.invalid .*try `ssh nowhere.invalid "
        ),
        clients.ssh_client(["nowhere.invalid"]),
    ):
        pass


def test_a_job_of_slurm() -> None:
    """Its script as text, since there is no SLURM here."""
    pytest.importorskip("dask_jobqueue", reason="medsam2slicer[cluster] is not installed")
    import dask

    own = {"jobqueue.slurm.queue": "gpu", "jobqueue.slurm.cores": 6, "jobqueue.slurm.walltime": "02:00:00",
           "jobqueue.slurm.job-extra-directives": ["--gres=gpu:1"]}  # fmt: skip
    with dask.config.set(own), clients.slurm_cluster() as cluster:
        lines = cluster.job_script().splitlines()
    for wanted in ("-p gpu", "--cpus-per-task=6", "--mem=15G", "-t 02:00:00", "--gres=gpu:1", "-n 1"):
        assert f"#SBATCH {wanted}" in lines
    command = next(line for line in lines if "distributed.cli.dask_worker" in line)
    assert command.startswith(sys.executable)
    assert "--nthreads 1 " in command
