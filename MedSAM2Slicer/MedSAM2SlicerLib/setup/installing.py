"""The first run: what the worker's Python lacks, one question about it, the installation, and the page for bug reports.

torch is never imported here: what is installed is read from the packages' metadata.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Protocol

from slicer.i18n import tr as _

import medsam2_core
from medsam2_core.errors import Cancelled, WorkerError
from medsam2_core.weights.store import ModelState, WeightsStore
from medsam2_core.weights.user_folder import home_folder
from MedSAM2SlicerLib.setup.packages import (
    PACKAGES,
    Installation,
    Requirement,
    lacking,
    pipLine,
    requirementFor,
    sizeText,
    titles,
    versionRange,
)
from MedSAM2SlicerLib.worker.commands import Finished, Origin, WorkerCommand, lastLine, runProgram

_PROBE_SECONDS = 30.0
_DOCTOR_SECONDS = 180.0  # a first import of torch from a cold disk, or a short queue on a cluster
# What the doctor may find wrong on a machine whose worker works: files are read here, and models are many.
_HARMLESS = {"SimpleITK", "models", ""}
_PROBE = """
import importlib.metadata, json, platform, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps([sys.platform, platform.machine(), sys.version_info[:2], {n: version(n) for n in sys.argv[1:]}]))
"""


class Host(Protocol):
    """What the set-up needs of the program around it; `SlicerHost` is the real one."""

    def installation(self) -> Installation:
        """Say what the Python of this process has."""
        ...

    def hasNvidiaDriver(self) -> bool:
        """Whether PyTorch comes with CUDA."""
        ...

    def run(self, command: WorkerCommand, timeoutSeconds: float) -> Finished:
        """Run a command to its end and keep the window alive; WorkerError if that is not possible."""
        ...

    def installTorch(self, requirement: str) -> None:
        """Install PyTorch into Slicer's Python through the PyTorch extension; ImportError without that extension."""
        ...

    def installPackages(self, lines: list[str]) -> None:
        """Install other packages into Slicer's Python with pip."""
        ...

    def about(self) -> str:
        """Name the program, its version and platform."""
        ...


class SlicerHost:
    """The running Slicer, 5.10 or newer."""

    def installation(self) -> Installation:
        """Say what Slicer's Python has."""
        importlib.invalidate_caches()  # pip, another process, may just have changed it
        versions = {name: _installedVersion(name) for name in PACKAGES}
        return Installation(sys.platform, platform.machine(), sys.version_info[:2], versions)

    def hasNvidiaDriver(self) -> bool:
        """Whether NVIDIA's driver is there, by the program that the PyTorch extension asks too."""
        return shutil.which("nvidia-smi") is not None

    def run(self, command: WorkerCommand, timeoutSeconds: float) -> Finished:
        """Run a command to its end."""
        import slicer

        return runProgram(command.arguments, command.environment, timeoutSeconds, slicer.app.processEvents)

    def installTorch(self, requirement: str) -> None:
        """Install PyTorch; a message stays on the screen meanwhile, since the extension shows none."""
        import PyTorchUtils
        import slicer

        message = _("Installing PyTorch. This takes several minutes; the Python console shows the progress.")
        with slicer.util.MessageDialog(message), slicer.util.WaitCursor():
            PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=False, torchVersionRequirement=requirement)

    def installPackages(self, lines: list[str]) -> None:
        """Install packages; the one question has been asked."""
        import slicer

        try:
            import slicer.packaging
        except ImportError:  # Slicer 5.10
            slicer.util.pip_install(lines)
        else:
            slicer.packaging.pip_ensure(lines, prompt_install=False, prompt_restart=False, requester="MedSAM-2")

    def about(self) -> str:
        """Name Slicer's version, revision and platform."""
        import slicer

        app = slicer.app
        return f"{app.applicationName} {app.applicationVersion}, revision {app.revision}, {app.platform}"


class Setup:
    """Gives Slicer's Python what the worker needs, and says what another one lacks."""

    def __init__(self, host: Host, loadedModules: Container[str] = sys.modules) -> None:
        self._host = host
        self._loadedModules = loadedModules

    def missing(self, command: WorkerCommand) -> list[Requirement]:
        """List what the worker of `command` lacks.

        Slicer's own Python answers at once, another one within a second. A command that was typed is asked through
        its own `medsam2 doctor`, which takes seconds, or as long as a cluster lets it wait.

        Raises:
            WorkerError: it cannot be asked, or installing packages would not make it fit.
        """
        if command.origin is Origin.TYPED:
            return self._missingByDoctor(command)
        found = self._host.installation() if command.origin is Origin.SLICER else self._ask(command)
        return self._requirements(lacking(found))

    def ensure(self, command: WorkerCommand, ask: Callable[[str], bool]) -> bool:
        """Ask once for all that `command` lacks and install it; return whether Slicer should be restarted.

        Raises:
            Cancelled: the user declined.
            WorkerError: as `missing` and `install`, or the packages belong into another Python than Slicer's.
        """
        requirements = self.missing(command)
        if not requirements:
            return False
        if command.origin is not Origin.SLICER:
            raise WorkerError(_howToInstall(command, requirements))
        if not ask(question(requirements)):
            text = _("Nothing was installed. MedSAM-2 needs {names}: press Set up again, or choose another Python.")
            raise Cancelled(text.format(names=titles(requirements)))
        restart = self.install(requirements)
        # In testing mode Slicer installs nothing and says nothing.
        rest = self.missing(command)
        if rest:
            raise WorkerError(
                _("{names} could not be installed: {advice}").format(names=titles(rest), advice=_advice())
            )
        return restart

    def install(self, requirements: Sequence[Requirement]) -> bool:
        """Install into Slicer's Python; return whether Slicer holds an older version of them in memory.

        Raises:
            WorkerError: the PyTorch extension is missing, or the installation failed.
        """
        names = [requirement.name for requirement in requirements]
        stale = any(name in self._loadedModules for name in names)
        lines = [pipLine(name) for name in names if name != "torch"]
        if "torch" in names:
            self._installTorch()
        if lines:
            self._installPackages(lines)
        return stale

    def doctorText(self, command: WorkerCommand) -> str:
        """Return the page for a bug report: versions, devices, models, paths and a self test.

        No volume, node or file of the user's is named, and the home folder is written as ~.
        """
        lines = [f"{'MedSAM2Slicer':<14}{medsam2_core.__version__}", f"{'Slicer':<14}{self._host.about()}"]
        lines += [f"{'worker':<14}{command}", *self._doctorLines(command)]
        return _withoutHome("\n".join(lines))

    def _doctorLines(self, command: WorkerCommand) -> list[str]:
        try:
            done = self._host.run(command.sibling("doctor"), _DOCTOR_SECONDS)
        except WorkerError as error:
            return [f"{'doctor':<14}PROBLEM: {error}"]
        return done.output.splitlines() or [f"{'doctor':<14}PROBLEM: {lastLine(done.errors)}"]

    def _missingByDoctor(self, command: WorkerCommand) -> list[Requirement]:
        done = self._host.run(command.sibling("doctor"), _DOCTOR_SECONDS)
        if not done.output.strip():
            raise _unfit(command, lastLine(done.errors))
        found = re.findall(r"^(.{14})PROBLEM: (.+)$", done.output, re.MULTILINE)
        problems = {name.strip(): text for name, text in found if name.strip() not in _HARMLESS}
        packages = {name: problems[name] for name in PACKAGES if name in problems}
        if problems and not packages:
            raise _unfit(command, "; ".join(problems.values()))
        return self._requirements(packages)

    def _ask(self, command: WorkerCommand) -> Installation:
        arguments = (command.arguments[0], "-c", _PROBE, *PACKAGES)
        done = self._host.run(WorkerCommand(command.origin, arguments, command.environment), _PROBE_SECONDS)
        try:
            system, machine, version, versions = json.loads(done.output)
        except ValueError as error:
            raise _unfit(command, lastLine(done.errors)) from error
        return Installation(system, machine, tuple(version), versions)

    def _requirements(self, reasons: Mapping[str, str]) -> list[Requirement]:
        withCuda = self._host.hasNvidiaDriver()
        return [requirementFor(name, why, withCuda) for name, why in reasons.items()]

    def _installTorch(self) -> None:
        try:
            self._host.installTorch(versionRange("torch"))
        except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
            if isinstance(error, ImportError) and error.name == "PyTorchUtils":
                text = _("Slicer's PyTorch extension is missing: install it in the Extensions Manager, then restart.")
                raise WorkerError(text) from error
            # The extension imports torch at the end. Where Slicer cannot load it the worker, another process, may.
            if "torch" in lacking(self._host.installation()):
                raise _failed(PACKAGES["torch"].title, error) from error

    def _installPackages(self, lines: list[str]) -> None:
        try:
            self._host.installPackages(lines)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            raise _failed(", ".join(lines), error) from error


def banner(requirements: Sequence[Requirement]) -> str:
    """Say in one sentence what is missing, for the panel."""
    size = sizeText(sum(requirement.sizeMb for requirement in requirements))
    return _("MedSAM-2 needs {names} (about {size}).").format(names=titles(requirements), size=size)


def question(requirements: Sequence[Requirement]) -> str:
    """Return the one question before the installation: each package with size, license and reason."""
    line = _("- {title}: about {size}, license {license} ({why})")
    lines = [
        line.format(title=PACKAGES[one.name].title, size=sizeText(one.sizeMb), license=one.license, why=one.why)
        for one in requirements
    ]
    return "\n".join(
        [
            _("MedSAM-2 needs this in Slicer's Python:"),
            *lines,
            "",
            _("The starter model comes with MedSAM2Slicer; you are asked again before another model is downloaded."),
            _("Download and install now?"),
        ]
    )


def removeModels(store: WeightsStore | None = None) -> list[str]:
    """Delete every downloaded model and what broken downloads left; return the names of the models that were there.

    Raises:
        WeightsError: a model is just being downloaded, or cannot be deleted.
    """
    store = store or WeightsStore()
    states = {name: store.state(name) for name in store.catalog}
    for name, state in states.items():
        if state is not ModelState.BUNDLED:
            store.remove(name)
    return [name for name, state in states.items() if state is ModelState.INSTALLED]


def _withoutHome(text: str) -> str:
    """Write the home folder as ~, unless it is the root, which all paths begin with."""
    home = home_folder()
    return text if home == home.parent else re.sub(rf"{re.escape(str(home))}(?!\w)", "~", text)


def _installedVersion(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _howToInstall(command: WorkerCommand, requirements: Sequence[Requirement]) -> str:
    packages = " ".join(f'"{one.name}{versionRange(one.name)}"' for one in requirements)
    if command.origin is Origin.PYTHON:
        text = _("{python} lacks {names}: run `{python} -m pip install {packages}` in a terminal, then try again.")
        return text.format(python=command.arguments[0], names=titles(requirements), packages=packages)
    text = _("The Python behind `{command}` lacks {names}: install {packages} there, then try again.")
    return text.format(command=command, names=titles(requirements), packages=packages)


def _unfit(command: WorkerCommand, reason: str) -> WorkerError:
    text = _("{command} cannot run MedSAM-2 ({reason}): try the command in a terminal, or choose another Python.")
    return WorkerError(text.format(command=command, reason=reason))


def _failed(what: str, error: Exception) -> WorkerError:
    text = _("{what} could not be installed ({reason}): {advice}")
    return WorkerError(text.format(what=what, reason=lastLine(str(error)), advice=_advice()))


def _advice() -> str:
    return _("check network and disk space, see the error log (Ctrl+0), then try again or choose another Python.")
