"""Cores are shared: threads that wait sleep, and there are no more of them than cores, however medsam2 is started."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import CEILING

from medsam2_core import processor
from medsam2_core.worker.wire import encode

PACKAGE = Path(processor.__file__).parents[1]
MEDSAM2 = Path(sys.executable).with_name("medsam2")
MODULE_WORKER = [sys.executable, "-m", "medsam2_core.worker"]
STARTS = {
    "python -m": MODULE_WORKER,
    "medsam2 worker": [str(MEDSAM2), "worker"],
    "medsam2 doctor": [str(MEDSAM2), "doctor"],
}


def in_force(command: list[str], **chosen: str) -> dict[str, str]:
    """What GNU's OpenMP goes by in a process that loads torch; it tells when it is asked to."""
    names = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    environment = inherited | {"OMP_DISPLAY_ENV": "VERBOSE", "PYTHONPATH": str(PACKAGE)} | chosen
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        process.stdin.write(b"".join(encode({"id": 1, "request": "status"})))  # a worker loads torch for it
        process.stdin.flush()
        said = b""
        while b'"result"' not in said and (more := os.read(process.stdout.fileno(), 1 << 16)):
            said += more
        _, errors = process.communicate(timeout=CEILING)
    return dict(re.findall(r"(\w+) = '(\w+)'", errors.decode()))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP does not tell what it goes by")
@pytest.mark.parametrize("start", STARTS)
def test_threads_that_wait_sleep_however_it_is_started(start: str) -> None:
    if not Path(STARTS[start][0]).exists():
        pytest.skip("needs the medsam2 command beside this Python")
    assert in_force(STARTS[start])["GOMP_SPINCOUNT"] == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' OpenMP does not tell what it goes by")
def test_what_the_user_has_set_stays() -> None:
    found = in_force(MODULE_WORKER, OMP_WAIT_POLICY="ACTIVE", OMP_NUM_THREADS="3")
    assert int(found["GOMP_SPINCOUNT"]) > 0
    assert found["OMP_NUM_THREADS"] == "3"


def test_torch_takes_the_cores_of_a_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "_bound_cores", lambda: 64)
    for quota, threads in ((math.inf, None), (64.0, None), (2.0, "2"), (2.5, "3"), (0.2, "1")):
        monkeypatch.setattr(processor, "quota_cores", lambda quota=quota: quota)
        environment: dict[str, str] = {}
        processor.share_cores(environment)
        assert environment.get("OMP_NUM_THREADS") == threads
    code = "import torch; print(torch.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=CEILING,
        check=True,
    )
    assert done.stdout.strip() == b"1"


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_number_the_user_chose_is_above_the_quota(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "quota_cores", lambda: 0.5)
    environment = {name: "7", "OMP_WAIT_POLICY": "ACTIVE"}
    processor.share_cores(environment)
    assert environment == {name: "7", "OMP_WAIT_POLICY": "ACTIVE"}


V1, HYBRID = "cpu.cfs_quota_us", "unified"
QUOTAS = {
    "version 2": ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 1.5),
    "version 2, in a container": ("0::/\n", {"cpu.max": "400000 100000"}, 4.0),
    "an outer group": ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
    "the least of several": ("0::/a/b\n", {"a/b/cpu.max": "100000 50000", "a/cpu.max": "50000 100000"}, 0.5),
    "no limit": ("0::/a\n", {"a/cpu.max": "max 100000"}, math.inf),
    "version 1": (
        "4:memory:/m\n3:cpu,cpuacct:/a\n0::/\n",
        {f"cpu,cpuacct/a/{V1}": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"},
        3.0,
    ),
    "version 1, in a container": (
        "3:cpu,cpuacct:/docker/0123\n",
        {f"cpu/{V1}": "50000", "cpu/cpu.cfs_period_us": "100000"},
        0.5,
    ),
    "version 1, no limit": ("1:cpu:/a\n", {f"cpu/a/{V1}": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, math.inf),
    "both": ("1:cpu:/\n0::/x\n", {f"{HYBRID}/x/cpu.max": "100000 100000"}, 1.0),
    "another group's": ("1:memory:/a\n", {f"cpu/a/{V1}": "1000", "cpu/a/cpu.cfs_period_us": "1000"}, math.inf),
    "nonsense": ("0::/\n", {"cpu.max": "\n"}, math.inf),
}


@pytest.mark.parametrize("kind", QUOTAS)
def test_the_quota_of_control_groups(kind: str, tmp_path: Path) -> None:
    own, files, cores = QUOTAS[kind]
    (tmp_path / "own").write_text(own, encoding="utf-8")
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    assert processor.quota_cores(tmp_path / "own", tmp_path / "root") == cores


def test_no_control_groups(tmp_path: Path) -> None:
    assert processor.quota_cores(tmp_path / "own", tmp_path) == math.inf
