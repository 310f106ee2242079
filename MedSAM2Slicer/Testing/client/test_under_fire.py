"""Workers that die, hang, babble or never start: the client raises nothing, keeps what came, and goes on."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from patience import CEILING, wait_until

from medsam2_core.errors import Cancelled, DeviceError, WorkerError
from medsam2_core.worker.wire import PROTOCOL
from MedSAM2SlicerLib.worker.callqueue import State
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.connection import Timeouts

posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")

KILLS = 50


class Clock:
    """Stands still until it is told to go on, a second at a time as a timer would see it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, client: WorkerClient, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            client.tick()


def pid(client: WorkerClient) -> int | None:
    process = client._queue._connection and client._queue._connection._transport._process
    return process.pid if process else None


def send_signal(client: WorkerClient, number: int) -> bool:
    target = pid(client)
    if target is None or client.state is State.STOPPED:
        return False
    os.kill(target, number)
    return True


def pump_until(client: WorkerClient, done) -> None:
    wait_until(done, lambda: client.pump(0.02))


class Killer:
    """Kills a worker some random time after it began to work, and one of three while it starts, however long it does.

    A worker that is slow to start, on a busy machine, would otherwise never get to work.
    """

    def __init__(self, client: WorkerClient) -> None:
        self.kills = 0
        self._client, self._rng = client, random.Random(4)
        self._seen, self._moment = State.STOPPED, math.inf

    def look(self) -> None:
        if self._client.state is not self._seen:
            self._seen = self._client.state
            self._moment = time.monotonic() + self._delay()
        elif time.monotonic() > self._moment and send_signal(self._client, signal.SIGKILL):
            self.kills += 1
            self._moment = math.inf

    def _delay(self) -> float:
        if self._seen is State.STARTING:
            return 0.2 * self._rng.random() if self._rng.random() < 1 / 3 else math.inf
        return 0.05 * self._rng.random() if self._seen is State.WORKING else math.inf


@posix
def test_killed_at_random_moments(make_client, volume, block) -> None:
    """Every call ends, with the right masks or a WorkerError; at the end all works as if nothing had happened."""
    client = make_client(None, 0.003)
    killer = Killer(client)
    restarts, ended = [], []
    client.restarted.connect(restarts.append)

    def check(step) -> None:
        (answer,) = step.answers
        assert np.array_equal(answer.mask.full((20, 30)), volume.gray[step.slice_index] > 100)

    while killer.kills < KILLS:
        call = client.propagate("s", [block], 0, 12, onStep=check, onDone=ended.append, onError=ended.append)
        while not call.isFinished:
            client.pump(0.005)
            killer.look()
    assert len(restarts) > 5
    for end in ended:
        assert isinstance(end, WorkerError) or [one.slice_index for one in end.objects[0].slices] == list(range(12))
    result = client.propagate("s", [block], 0, 12, onStep=check).wait()
    assert [one.slice_index for one in result.objects[0].slices] == list(range(12))


@posix
def test_a_killed_worker_is_restarted_and_repeats_the_request(make_client, hold, block) -> None:
    client = make_client(None, 0, hold)
    hold.touch()
    reasons, steps = [], []
    client.restarted.connect(reasons.append)
    call = client.propagate("s", [block], 0, 12, onStep=steps.append)
    pump_until(client, lambda: len(steps) >= 2)
    send_signal(client, signal.SIGKILL)
    hold.unlink()
    assert not call.wait().cancelled
    assert {step.slice_index for step in steps} == set(range(12))
    assert len(reasons) == 1
    assert reasons[0].startswith("The model process was ended by signal 9")


@posix
def test_a_request_that_kills_every_worker_is_given_up(make_client, hold, block) -> None:
    client = make_client(None, 0, hold)
    hold.touch()
    steps = []
    call = client.propagate("s", [block], 0, 12, onStep=steps.append)
    for _ in range(3):
        steps.clear()
        pump_until(client, lambda: steps or call.isFinished)
        send_signal(client, signal.SIGKILL)
        pump_until(client, lambda: client.state is not State.WORKING)
    with pytest.raises(WorkerError, match=r"signal 9.*tried 3 times"):
        call.wait()
    hold.unlink()
    assert client.predict("s", 5, [block]).wait()


@posix
def test_killed_while_idle_it_comes_back_with_the_next_request(make_client, block) -> None:
    client = make_client()
    client.predict("s", 5, [block]).wait()
    send_signal(client, signal.SIGKILL)
    pump_until(client, lambda: client.state is State.STOPPED)
    assert client.predict("s", 5, [block]).wait()


@posix
def test_a_stalled_worker_is_replaced(make_client, hold, block) -> None:
    clock = Clock()
    client = make_client(None, 0, hold, clock=clock, timeouts=Timeouts(stall=30))
    hold.touch()
    reasons, steps = [], []
    client.restarted.connect(reasons.append)
    call = client.propagate("s", [block], 0, 12, onStep=steps.append)
    pump_until(client, lambda: len(steps) >= 2)
    send_signal(client, signal.SIGSTOP)
    hold.unlink()
    clock.pass_seconds(client, 29)
    assert not reasons
    clock.pass_seconds(client, 2)
    assert reasons == ["The model process did not respond for 30 s."]
    assert call.wait().objects


@posix
def test_an_application_that_was_busy_itself_blames_no_worker(make_client, hold, block) -> None:
    clock = Clock()
    client = make_client(None, 0, hold, clock=clock, timeouts=Timeouts(stall=30))
    hold.touch()
    client.restarted.connect(pytest.fail)
    steps = []
    call = client.propagate("s", [block], 0, 12, onStep=steps.append)
    pump_until(client, lambda: steps)
    clock.now += 3600
    client.tick()
    hold.unlink()
    assert call.wait().objects


@posix
def test_a_propagation_that_ignores_cancel_is_ended(make_client, hold, block) -> None:
    clock = Clock()
    client = make_client(None, 0, hold, clock=clock, timeouts=Timeouts(cancel=20))
    hold.touch()
    steps, errors = [], []
    call = client.propagate("s", [block], 0, 12, onStep=steps.append, onError=errors.append)
    pump_until(client, lambda: len(steps) >= 2)
    send_signal(client, signal.SIGSTOP)
    call.cancel()
    clock.pass_seconds(client, 21)
    assert [type(error) for error in errors] == [Cancelled]
    assert len(steps) == 2
    assert client.predict("s", 5, [block]).wait()


@posix
def test_stop_ends_a_stalled_worker(make_client, block) -> None:
    client = make_client(timeouts=Timeouts(shutdown=0.2))
    client.predict("s", 5, [block]).wait()
    target = pid(client)
    send_signal(client, signal.SIGSTOP)
    client.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(target, 0)


HELLO = 'out(*encode({"event": "hello", "protocol": PROTOCOL, "version": "x"}))'
ANSWER = "sys.stdin.buffer.read(1)"  # waits for a request
BABBLE = {
    "garbage before the greeting": (
        'out(b"Welcome to the cluster!")',
        r"printed something .*\(Welcome to the cluster!\): keep .*~/\.bashrc.*stderr",
    ),
    "a blank line before the greeting": (f'out(b"\\n"); {HELLO}', r"printed something .*\(a blank line\): keep"),
    "a blank line and the greeting at once": (
        'out(b"\\n" + b"".join(encode({"event": "hello", "protocol": PROTOCOL, "version": "x"})))',
        r"printed something .*\(a blank line\): keep",
    ),
    "garbage after the greeting": (f"{HELLO}; {ANSWER}; out(bytes(range(256)) * 9)", "does not speak"),
    "an oversize header": (f'{HELLO}; {ANSWER}; out(b"MS2W" + bytes([255] * 4))', "header of 4294967295 bytes"),
    "oversize payloads": (
        f"""{HELLO}; {ANSWER}; h = b'{{"payloads": [9999999999]}}'; out(b"MS2W", len(h).to_bytes(4, "big"), h)""",
        "payloads of 9999999999 bytes",
    ),
    "no JSON": (f'{HELLO}; {ANSWER}; out(b"MS2W" + bytes([0, 0, 0, 2]) + b"[}}")', "not JSON"),
    "half a frame": (f"{HELLO}; {ANSWER}; out(encode({{'id': 1}})[0][:9]); sys.exit(3)", "ended with code 3"),
    "another protocol": (
        'out(*encode({"event": "hello", "protocol": PROTOCOL + 1, "version": "9.9"}))',
        rf"version 9.9\) speaks protocol {PROTOCOL + 1}",
    ),
    "no greeting": ('out(*encode({"id": 1, "event": "result"}))', "not a MedSAM2Slicer worker"),
    "the end at once": ('sys.stderr.write("one\\nModuleNotFoundError: torch\\n"); sys.exit(1)', "code 1: ModuleNot"),
    "nonsense results": (
        f"{HELLO}; {ANSWER}; answer_everything()",
        "no valid",
    ),
}
SCRIPT = """
import sys, time
sys.path.insert(0, {folder!r})
from medsam2_core.worker.wire import PROTOCOL, encode
def out(*buffers):
    for buffer in buffers:
        sys.stdout.buffer.write(buffer)
    sys.stdout.buffer.flush()
def answer_everything():
    for number in range(1, 20):
        time.sleep(0.05)
        out(*encode({{"id": number, "event": "result", "masks": [{{}}]}}))
{body}
time.sleep({forever})
"""


def babbler(folder: Path, body: str) -> list[str]:
    script = folder / "babbler.py"
    script.write_text(
        textwrap.dedent(SCRIPT).format(folder=str(Path(__file__).parents[2]), body=body, forever=2 * CEILING),
        encoding="utf-8",
    )
    return [sys.executable, str(script)]


@pytest.mark.parametrize("kind", BABBLE)
def test_a_worker_that_babbles_is_an_error_and_no_exception(make_client, block, tmp_path: Path, kind: str) -> None:
    body, text = BABBLE[kind]
    client = make_client(babbler(tmp_path, body))
    errors = []
    call = client.predict("s", 5, [block], onError=errors.append)
    pump_until(client, lambda: call.isFinished)
    with pytest.raises(WorkerError, match=text):
        raise errors[0]
    assert str(errors[0]).endswith(f". Try again, or see the log {client.log.path}.")
    assert client.state is State.STOPPED
    client.setCommand(make_client()._queue._command)
    assert client.predict("s", 5, [block]).wait()


@posix
def test_killed_before_it_greets_the_message_says_what_to_do(make_client, block, tmp_path: Path) -> None:
    client = make_client(babbler(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    with pytest.raises(WorkerError) as caught:
        client.predict("s", 5, [block]).wait()
    assert str(caught.value) == (
        "The model process was ended by signal 9. If memory ran out, close other programs or choose a smaller model. "
        f"Try again, or see the log {client.log.path}."
    )


@pytest.mark.parametrize("command", [["no-such-program"], [], [""], ["/"], ["a\0b"]])
def test_a_program_that_cannot_be_started(make_client, block, command: list[str]) -> None:
    client = make_client()
    client.setCommand(command)
    calls = [client.predict("s", index, [block]) for index in (5, 6)]
    assert not any(call.isFinished for call in calls)
    for call in calls:
        with pytest.raises(WorkerError, match="cannot be started"):
            call.wait()


def test_a_worker_that_never_greets(make_client, block, tmp_path: Path) -> None:
    clock = Clock()
    client = make_client(babbler(tmp_path, "pass"), clock=clock, timeouts=Timeouts(start=10))
    call = client.predict("s", 5, [block])
    clock.pass_seconds(client, 9)
    assert not call.isFinished
    clock.pass_seconds(client, 2)
    with pytest.raises(WorkerError, match="did not start within 10 s"):
        call.wait()


def test_a_volume_that_cannot_be_made_is_an_error_and_the_next_request_works(make_client, survive_unmade) -> None:
    survive_unmade(make_client())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_costs_the_log_only(make_client, block) -> None:
    client = make_client(logPath=Path("/dev/full"))
    assert client.predict("s", 5, [block]).wait()
    client.stop()
    assert "No space left" in str(client.log.problem)
    client.setCommand(["no-such-program"])
    with pytest.raises(WorkerError, match=r"command\. Try again; /dev/full cannot be written \(No space left"):
        client.predict("s", 5, [block]).wait()


def test_a_log_that_cannot_be_opened_costs_the_log_only(make_client, block, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = make_client(logPath=tmp_path / "file" / "worker.log")
    assert client.predict("s", 5, [block]).wait()


@posix
def test_a_memory_limit_is_a_typed_error_and_the_next_request_works(make_client, volume, block, tmp_path: Path) -> None:
    """The limit is too low for one volume and high enough for the other."""
    limited = tmp_path / "limited.py"
    limited.write_text(
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (500 << 20, 500 << 20))\n"
        "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')\n",
        encoding="utf-8",
    )
    client = make_client()
    client.setCommand([sys.executable, str(limited), *client._queue._command[1:]])
    big = np.zeros((700, 800, 800), np.uint8)
    geometry = type(volume.geometry)(big.shape, (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    client.setVolume("big", type(volume)(big, geometry))
    client.openSession("big", "big", 0)
    with pytest.raises((WorkerError, DeviceError), match="memory"):
        client.predict("big", 5, [block]).wait()
    assert client.predict("s", 5, [block]).wait()
