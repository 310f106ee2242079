"""What is missing, the one question, the installation on Slicer 5.10 and 5.12, the doctor's page, removing models."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from medsam2_core.errors import Cancelled, WeightsError, WorkerError
from medsam2_core.weights.store import ModelState, WeightsStore
from MedSAM2SlicerLib.setup.installing import Setup, SlicerHost, banner, question, removeModels
from MedSAM2SlicerLib.setup.packages import PACKAGES, Installation, pipLine, versionRange
from MedSAM2SlicerLib.worker.commands import Finished, Origin, WorkerCommand, runProgram, workerCommand

ROOT = Path(__file__).parents[4]
COMPLETE = {"torch": "2.9.1+cu128", "numpy": "2.4.6", "tqdm": "4.67.1"}
FRESH = Installation("linux", "x86_64", (3, 12), {"torch": None, "numpy": "2.4.6", "tqdm": None})
OWN = WorkerCommand(Origin.SLICER, ("PythonSlicer", "-c", "", "", "worker"))
OTHER = WorkerCommand(Origin.PYTHON, ("/opt/env/bin/python", "-c", "", "", "worker"), {})
REMOTE = WorkerCommand(Origin.TYPED, ("ssh", "gpu", "medsam2", "worker"), {})
HEALTHY = "medsam2       0.1.0\nnumpy         2.4.6\nself test     passed in 0.4 s\n"


@dataclass
class FakeHost:
    """A Slicer whose Python gets what is installed, unless that fails."""

    found: Installation = FRESH
    answer: Finished = field(default_factory=lambda: Finished(0, HEALTHY, ""))
    cuda: bool = False
    torch_error: Exception | None = None
    pip_error: Exception | None = None
    installed: list[str] = field(default_factory=list)
    ran: list[tuple[str, ...]] = field(default_factory=list)

    def installation(self) -> Installation:
        return self.found

    def hasNvidiaDriver(self) -> bool:
        return self.cuda

    def run(self, command: WorkerCommand, timeoutSeconds: float) -> Finished:
        self.ran.append(command.arguments)
        return self.answer

    def installTorch(self, requirement: str) -> None:
        if self.torch_error:
            raise self.torch_error
        self._install(f"torch{requirement}")

    def installPackages(self, lines: list[str]) -> None:
        if self.pip_error:
            raise self.pip_error
        for line in lines:
            self._install(line)

    def about(self) -> str:
        return "Slicer 5.12.3, revision 34567, linux-amd64"

    def _install(self, line: str) -> None:
        self.installed.append(line)
        name, _, version = line.partition(">=")
        self.found = replace(self.found, versions={**self.found.versions, name: version})


def _yes(_question: str) -> bool:
    return True


def test_nothing_is_asked_when_nothing_is_missing() -> None:
    host = FakeHost(replace(FRESH, versions=COMPLETE))
    assert Setup(host).missing(OWN) == []
    assert Setup(host).ensure(OWN, ask=lambda _: pytest.fail("asked")) is False
    assert host.installed == []


def test_one_question_names_sizes_and_licenses() -> None:
    asked: list[str] = []
    host = FakeHost(cuda=True)
    assert Setup(host, {}).ensure(OWN, lambda text: not asked.append(text)) is False
    assert host.installed == ["torch>=2.4", "tqdm>=4.60"]
    assert len(asked) == 1
    assert "PyTorch: about 2.5 GB, license BSD-3-Clause; with NVIDIA's libraries under NVIDIA's" in asked[0]
    assert "tqdm: about 1 MB, license MPL-2.0 and MIT (not installed)" in asked[0]


def test_banner_and_question_without_a_gpu() -> None:
    missing = Setup(FakeHost()).missing(OWN)
    assert [one.name for one in missing] == ["torch", "tqdm"]
    assert banner(missing) == "MedSAM-2 needs PyTorch, tqdm (about 251 MB)."
    assert "about 250 MB" in question(missing)


def test_declining_says_what_to_do() -> None:
    host = FakeHost()
    with pytest.raises(Cancelled, match=r"Nothing was installed.*press Set up again, or choose another Python"):
        Setup(host).ensure(OWN, lambda _: False)
    assert host.installed == []


def test_restart_only_if_an_older_version_is_in_memory() -> None:
    old = replace(FRESH, versions={**COMPLETE, "torch": "2.2.2"})
    [missing] = Setup(FakeHost(old)).missing(OWN)
    assert missing.why == "version 2.2.2 is too old"
    assert Setup(FakeHost(old), {"torch": None}).ensure(OWN, _yes) is True
    assert Setup(FakeHost(old), {}).ensure(OWN, _yes) is False


def test_intel_mac_is_told_at_once() -> None:
    mac = replace(FRESH, system="darwin")
    for versions in (FRESH.versions, {**COMPLETE, "torch": "2.2.2"}):
        with pytest.raises(WorkerError, match="Intel Macs, where PyTorch ended"):
            Setup(FakeHost(replace(mac, versions=versions))).missing(OWN)
    assert Setup(FakeHost(replace(mac, versions=COMPLETE))).missing(OWN) == []
    assert len(Setup(FakeHost(replace(mac, machine="arm64"))).missing(OWN)) == 2


def test_old_python() -> None:
    with pytest.raises(WorkerError, match=r"Python 3\.9 is too old"):
        Setup(FakeHost(replace(FRESH, python=(3, 9)))).missing(OWN)


def test_slicers_numpy_is_never_replaced() -> None:
    host = FakeHost(replace(FRESH, versions={**COMPLETE, "numpy": "1.24.0"}))
    with pytest.raises(WorkerError, match="Slicer's NumPy is not suitable: update Slicer"):
        Setup(host).ensure(OWN, _yes)
    assert host.installed == []


def test_without_the_pytorch_extension() -> None:
    host = FakeHost(torch_error=ModuleNotFoundError("No module named 'PyTorchUtils'", name="PyTorchUtils"))
    with pytest.raises(WorkerError, match="PyTorch extension is missing: install it in the Extensions Manager"):
        Setup(host).ensure(OWN, _yes)


@pytest.mark.parametrize("error", [subprocess.CalledProcessError(1, "pip"), OSError("disk full"), RuntimeError("no")])
def test_failed_installations(error: Exception) -> None:
    with pytest.raises(WorkerError, match=r"PyTorch could not be installed .*check network and disk space"):
        Setup(FakeHost(torch_error=error)).ensure(OWN, _yes)
    with pytest.raises(WorkerError, match=r"tqdm>=4\.60 could not be installed"):
        Setup(FakeHost(pip_error=error)).ensure(OWN, _yes)


def test_torch_that_slicer_itself_cannot_load_does_for_the_worker() -> None:
    host = FakeHost(replace(FRESH, versions={**COMPLETE, "torch": None}))

    def install(_requirement: str) -> None:
        host.found = replace(FRESH, versions=COMPLETE)
        raise OSError("libtorch_cpu.so: cannot allocate memory in static TLS block")

    host.installTorch = install  # type: ignore[method-assign]
    assert Setup(host, {}).ensure(OWN, _yes) is False


def test_an_installation_that_did_nothing_is_noticed() -> None:
    host = FakeHost()
    host.installPackages = lambda lines: None  # type: ignore[method-assign]
    with pytest.raises(WorkerError, match="tqdm could not be installed"):
        Setup(host).ensure(OWN, _yes)


def test_another_python_is_asked_and_never_changed() -> None:
    host = FakeHost(answer=Finished(0, '["linux", "x86_64", [3, 11], {"torch": null, "numpy": "2.1"}]', ""))
    with pytest.raises(WorkerError) as refused:
        Setup(host).ensure(OTHER, _yes)
    assert '/opt/env/bin/python -m pip install "torch>=2.4" "tqdm>=4.60"' in str(refused.value)
    assert host.installed == []
    host.answer = Finished(1, "", "Traceback\nSyntaxError: invalid syntax")
    with pytest.raises(WorkerError, match=r"cannot run MedSAM-2 \(SyntaxError: invalid syntax\)"):
        Setup(host).missing(OTHER)


def test_a_real_python_is_asked_without_importing_torch() -> None:
    host = FakeHost()
    host.run = lambda command, seconds: runProgram(command.arguments, command.environment, seconds)  # type: ignore
    command = workerCommand(sys.executable, ROOT / "MedSAM2Slicer", dict(os.environ))
    assert Setup(host).missing(command) == []


def test_a_typed_command_is_asked_through_its_doctor() -> None:
    host = FakeHost()
    assert Setup(host).missing(REMOTE) == []
    assert host.ran == [("ssh", "gpu", "medsam2", "doctor")]
    lacks = "torch         PROBLEM: not installed: run `pip install torch`\nSimpleITK     PROBLEM: not installed\n"
    host.answer = Finished(1, HEALTHY + lacks, "")
    assert [one.name for one in Setup(host).missing(REMOTE)] == ["torch"]
    with pytest.raises(WorkerError, match="The Python behind `ssh gpu medsam2 worker` lacks PyTorch"):
        Setup(host).ensure(REMOTE, _yes)


@pytest.mark.parametrize(
    ("output", "errors", "message"),
    [
        ("", "ssh: Could not resolve hostname gpu\n", "Could not resolve hostname gpu"),
        ("", "", "no message"),
        ("self test     PROBLEM: failed: out of memory\n", "", "failed: out of memory"),
    ],
)
def test_a_typed_command_that_does_not_work(output: str, errors: str, message: str) -> None:
    with pytest.raises(WorkerError, match=message):
        Setup(FakeHost(answer=Finished(1, output, errors))).missing(REMOTE)


def test_what_a_remote_worker_can_do_without() -> None:
    output = "SimpleITK     PROBLEM: not installed\n              PROBLEM: medsam2-toronto is damaged\n"
    assert Setup(FakeHost(answer=Finished(1, HEALTHY + output, ""))).missing(REMOTE) == []


def test_the_doctors_page() -> None:
    home = str(Path.home())
    text = Setup(FakeHost(answer=Finished(0, f"{HEALTHY}models        {home}/x\n", ""))).doctorText(REMOTE)
    assert re.match(r"MedSAM2Slicer \S+\nSlicer +Slicer 5\.12\.3, revision 34567", text)
    assert "worker        ssh gpu medsam2 worker" in text
    assert "self test     passed" in text
    assert "~/x" in text
    assert home not in text


@pytest.mark.parametrize(("home", "shown"), [("/", "/home/ann/x"), ("/home/an", "/home/ann/x"), ("/home", "~/ann/x")])
def test_the_doctors_page_of_any_home(monkeypatch: pytest.MonkeyPatch, home: str, shown: str) -> None:
    monkeypatch.setenv("HOME", home)
    text = Setup(FakeHost(answer=Finished(0, "models        /home/ann/x", ""))).doctorText(REMOTE)
    assert text.endswith(f"models        {shown}")


def test_the_doctors_page_of_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999)
    assert "~" not in Setup(FakeHost(answer=Finished(0, HEALTHY, ""))).doctorText(REMOTE)


def test_the_doctors_page_when_the_doctor_cannot_come() -> None:
    page = Setup(FakeHost(answer=Finished(1, "", "ModuleNotFoundError: No module named 'tqdm'"))).doctorText(OWN)
    assert page.endswith("doctor        PROBLEM: ModuleNotFoundError: No module named 'tqdm'")
    page = Setup(FakeHost()).doctorText(WorkerCommand(Origin.TYPED, ("./start.sh",), {}))
    assert "doctor        PROBLEM:" in page


def test_requirements_agree_with_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{name}{versionRange(name)}"' in project for name in PACKAGES)
    assert pipLine("tqdm") == f"tqdm{versionRange('tqdm')}"


@dataclass
class FakeStore:
    """Three models; removing one that is `busy` fails as in `WeightsStore`."""

    states: dict[str, ModelState]
    busy: str = ""
    removed: list[str] = field(default_factory=list)

    @property
    def catalog(self) -> dict[str, ModelState]:
        return self.states

    def state(self, name: str) -> ModelState:
        return self.states[name]

    def remove(self, name: str) -> None:
        if name == self.busy:
            raise WeightsError(f"{name} is being downloaded by another program")
        self.removed.append(name)


def test_removing_models_spares_the_bundled_one() -> None:
    states = {"starter": ModelState.BUNDLED, "tiny": ModelState.INSTALLED, "broken": ModelState.MISSING}
    store: Any = FakeStore(states)
    assert removeModels(store) == ["tiny"]
    assert store.removed == ["tiny", "broken"]
    with pytest.raises(WeightsError, match="being downloaded"):
        removeModels(FakeStore(states, busy="tiny"))  # type: ignore[arg-type]


def test_removing_real_files(tmp_path: Path) -> None:
    store = WeightsStore(tmp_path)
    entry = next(entry for entry in store.catalog.values() if entry.url)
    (tmp_path / entry.file).write_bytes(b"weights")
    assert removeModels(store) == [entry.name]
    assert not (tmp_path / entry.file).exists()
    assert removeModels(store) == []


@contextmanager
def _dialog(*_: object) -> Iterator[None]:
    yield


@pytest.fixture
def slicer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The part of Slicer 5.10 that the host uses; `calls` notes what it is asked to do."""
    fake: Any = ModuleType("slicer")
    fake.calls = []
    fake.util = SimpleNamespace(pip_install=fake.calls.append, MessageDialog=_dialog, WaitCursor=_dialog)
    fake.app = SimpleNamespace(
        applicationName="Slicer",
        applicationVersion="5.10.0",
        revision="34045",
        platform="linux-amd64",
        processEvents=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "slicer", fake)
    monkeypatch.delitem(sys.modules, "slicer.packaging", raising=False)
    return fake


def test_pip_on_slicer_5_10(slicer: Any) -> None:
    SlicerHost().installPackages(["tqdm>=4.60"])
    assert slicer.calls == [["tqdm>=4.60"]]


def test_pip_on_slicer_5_12(slicer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    packaging: Any = ModuleType("slicer.packaging")
    packaging.pip_ensure = lambda *lines, **options: slicer.calls.append((lines, options))
    slicer.packaging = packaging
    monkeypatch.setitem(sys.modules, "slicer.packaging", packaging)
    SlicerHost().installPackages(["tqdm>=4.60"])
    options = {"prompt_install": False, "prompt_restart": False, "requester": "MedSAM-2"}
    assert slicer.calls == [((["tqdm>=4.60"],), options)]


def test_torch_comes_through_the_pytorch_extension(slicer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError) as missing:
        SlicerHost().installTorch(">=2.4")
    assert missing.value.name == "PyTorchUtils"
    extension: Any = ModuleType("PyTorchUtils")
    logic = SimpleNamespace(installTorch=lambda **options: slicer.calls.append(options))
    extension.PyTorchUtilsLogic = lambda: logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    SlicerHost().installTorch(">=2.4")
    assert slicer.calls == [{"askConfirmation": False, "torchVersionRequirement": ">=2.4"}]


def test_the_real_host(slicer: Any) -> None:
    host = SlicerHost()
    assert host.about() == "Slicer 5.10.0, revision 34045, linux-amd64"
    assert host.installation().versions.keys() == PACKAGES.keys()
    assert host.installation().python == sys.version_info[:2]
    assert host.run(WorkerCommand(Origin.PYTHON, (sys.executable, "-c", "print(1)")), 30).output.strip() == "1"
    assert isinstance(host.hasNvidiaDriver(), bool)
