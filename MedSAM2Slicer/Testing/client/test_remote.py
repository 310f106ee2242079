"""`ssh HOST medsam2 worker` through a real sshd on this machine, with a port, host key and user key of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from patience import wait_until

from medsam2_core.errors import WorkerError

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SSH, KEYGEN = shutil.which("ssh"), shutil.which("ssh-keygen")
pytestmark = pytest.mark.skipif(
    None in (SSHD, SSH, KEYGEN), reason="needs OpenSSH's server: sudo apt install openssh-server"
)

FAKE_WORKER = f"{sys.executable} {Path(__file__).with_name('fake_worker.py')}"
MEDSAM2 = Path(sys.executable).with_name("medsam2")


@dataclass
class Server:
    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def command(self, remote: str) -> list[str]:
        """The command line a user would type, with what he has in ~/.ssh given as options."""
        options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "IdentitiesOnly=yes",
            f"UserKnownHostsFile={self.folder / 'known_hosts'}",
            f"IdentityFile={self.folder / 'user_key'}",
        ]
        words = [word for option in options for word in ("-o", option)]
        return ["ssh", "-F", "none", *words, "-p", str(self.port), f"{getpass.getuser()}@127.0.0.1", remote]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def configure(folder: Path, port: int) -> Path:
    for name in ("host_key", "user_key"):
        subprocess.run([str(KEYGEN), "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    host_key = " ".join((folder / "host_key.pub").read_text(encoding="utf-8").split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n", encoding="utf-8")
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n",
        encoding="utf-8",
    )
    return config


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder, port = tmp_path_factory.mktemp("ssh"), free_port()
    config = configure(folder, port)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's sshd, run by root, drops its privileges
    with (folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=log)

    def wait_a_little() -> None:
        assert process.poll() is None, (folder / "sshd.log").read_text(encoding="utf-8")
        time.sleep(0.05)

    wait_until(lambda: listening(port), wait_a_little)
    yield Server(folder, port, process)
    process.terminate()
    process.wait()


def test_the_same_masks_as_here(server: Server, make_client, volume, block) -> None:
    client = make_client(server.command(FAKE_WORKER))
    steps = []
    client.propagate("s", [block], 0, 12, onStep=steps.append).wait()
    assert len(steps) == 12
    for step in steps:
        mask = step.answers[0].mask.full((20, 30))
        assert np.array_equal(mask, volume.gray[step.slice_index] > 100)


def test_a_large_volume_goes_through(server: Server, make_client, volume, block) -> None:
    client = make_client(server.command(FAKE_WORKER))
    gray = np.random.default_rng(0).integers(0, 255, (64, 512, 512), np.uint8)
    geometry = type(volume.geometry)(gray.shape, (1, 1, 1), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    client.setVolume("large", type(volume)(gray, geometry))
    client.openSession("large", "large", 0)
    (answer,) = client.predict("large", 5, [block]).wait()
    # Upright slices of this grid are stored ones, and of noise every pixel counts.
    assert np.array_equal(answer.mask.full((512, 512)), gray[5] > 100)


@pytest.mark.skipif(not MEDSAM2.exists(), reason="needs the medsam2 command beside this Python")
def test_the_real_worker(server: Server, make_client) -> None:
    client = make_client(server.command(f"OMP_NUM_THREADS=1 {MEDSAM2} worker"))
    assert client.status().wait()["model"] is None


def test_a_broken_connection_is_mended_and_the_remote_worker_ends(
    server: Server, make_client, block, monkeypatch
) -> None:
    client = make_client(server.command(f"{FAKE_WORKER} 0.05"))
    reasons, steps, pids = [], [], []
    client.restarted.connect(reasons.append)
    monkeypatch.setattr(client._queue, "greeted", lambda hello: (pids.append(hello["pid"]), client._queue._advance()))
    call = client.propagate("s", [block], 0, 12, onStep=steps.append)
    while len(steps) < 2:
        client.pump(0.05)
    os.kill(client._queue._connection._transport._process.pid, signal.SIGKILL)  # ssh, not the worker
    assert len(call.wait().objects[0].slices) == 12
    assert len(reasons) == 1
    assert len(pids) == 2
    client.stop()
    wait_until(lambda: not any(map(is_running, pids)), lambda: time.sleep(0.1))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_unknown_host_is_refused_with_sshs_own_words(server: Server, make_client, block) -> None:
    command = [word.replace("known_hosts", "no_hosts") for word in server.command(FAKE_WORKER)]
    with pytest.raises(WorkerError, match="code 255: Host key verification failed"):
        make_client(command).predict("s", 5, [block]).wait()


def test_a_program_that_is_not_there_is_named(server: Server, make_client, block) -> None:
    with pytest.raises(WorkerError, match=r"code 127: .*no-such-medsam2"):
        make_client(server.command("no-such-medsam2 worker")).predict("s", 5, [block]).wait()


def test_a_host_that_does_not_answer(make_client, block) -> None:
    with pytest.raises(WorkerError, match="Connection refused"):
        make_client(["ssh", "-F", "none", "-o", "BatchMode=yes", "-p", str(free_port()), "127.0.0.1", "x"]).predict(
            "s", 5, [block]
        ).wait()
