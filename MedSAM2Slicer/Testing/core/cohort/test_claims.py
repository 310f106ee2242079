"""Claims: one holder at a time, and somebody else once it is gone, however it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from medsam2_core.cohort.claims import Claim, Claims

HOLD = """
import sys, time
from pathlib import Path
from medsam2_core.cohort.claims import Claims
claim = Claims(Path(sys.argv[1])).take("a")
print(claim.number, flush=True)
time.sleep(600)
"""


def held_elsewhere(folder: Path) -> subprocess.Popen[bytes]:
    """A process that holds the case "a"."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"1"
    return process


def ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_a_case_is_had_by_one_and_then_by_another(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    claim = one.take("a.b")
    assert claim is not None
    assert other.take("a.b") is None
    assert other.is_held("a.b")
    assert other.take("a") is not None  # another case
    claim.release()
    assert not other.is_held("a.b")
    again = other.take("a.b")
    assert again is not None
    again.release()
    assert one.names() == ["a"]


def test_of_many_one_gets_it(tmp_path: Path) -> None:
    got: list[Claim | None] = []
    start = threading.Barrier(16)

    def take() -> None:
        claims = Claims(tmp_path)
        start.wait()
        got.append(claims.take("a"))

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = [claim for claim in got if claim is not None]
    claim.release()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_killed_holder_loses_its_case_at_once(tmp_path: Path) -> None:
    process = held_elsewhere(tmp_path)
    claims = Claims(tmp_path)
    assert claims.take("a") is None
    assert claims.held_by(process.pid) == ["a"]
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert not claims.is_held("a")
    claim = claims.take("a")
    assert claim is not None
    assert claim.number == 2
    assert claim.is_last()
    claim.release()
    assert list(tmp_path.iterdir()) == []


def test_on_another_machine_a_claim_lapses_when_nobody_touches_it(tmp_path: Path, monkeypatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("medsam2_core.cohort.claims.time.monotonic", lambda: now[0])
    process = held_elsewhere(tmp_path)
    ended(process)
    far = Claims(tmp_path, host="elsewhere", lease=60)
    assert far.take("a") is None  # first seen
    now[0] += 59
    assert far.take("a") is None
    os.utime(tmp_path / "a.1")  # its holder is alive after all
    now[0] += 59
    assert far.take("a") is None
    now[0] += 61
    assert far.take("a") is not None


def test_who_was_only_slow_finds_out(tmp_path: Path) -> None:
    slow = Claims(tmp_path).take("a")
    assert slow is not None
    slow.file.close()  # its lock is gone, as on a disk that loses them
    taker = Claims(tmp_path).take("a")
    assert taker is not None
    assert not slow.is_last()
    assert taker.is_last()


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claim = claims.take("a[1]")
    assert claim is not None
    assert claims.is_held("a[1]")
    assert not claims.is_held("a1")
    claim.release()


def test_half_made_claims_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".draft-x").write_bytes(b"")
    Claims(tmp_path).remove_drafts()
    assert list(tmp_path.iterdir()) == []
