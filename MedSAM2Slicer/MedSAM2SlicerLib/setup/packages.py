"""The packages that the worker needs: how large, under which license, how old at most, and what cannot help."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from medsam2_core.errors import WorkerError

REQUIREMENTS_FILE = Path(__file__).resolve().parents[2] / "Resources" / "requirements.txt"
_OLDEST_PYTHON = (3, 10)


@dataclass(frozen=True)
class Requirement:
    """A package that the worker needs and does not find: its name for pip, the download in MB, and why it is needed."""

    name: str
    sizeMb: int
    license: str
    why: str


@dataclass(frozen=True)
class Installation:
    """What a Python is, as `sys.platform` and `platform.machine()` say, and the versions it has; None: not there."""

    system: str
    machine: str
    python: tuple[int, int]
    versions: Mapping[str, str | None]


@dataclass(frozen=True)
class Package:
    """What is known of a package before it is installed; `oldest` is the oldest version that does."""

    title: str
    oldest: tuple[int, int]
    sizeMb: int
    license: str


PACKAGES = {
    "torch": Package("PyTorch", (2, 4), 250, "BSD-3-Clause"),
    "numpy": Package("NumPy", (1, 26), 20, "BSD-3-Clause"),
    "tqdm": Package("tqdm", (4, 60), 1, "MPL-2.0 and MIT"),
}
# NVIDIA's libraries come along where there is a driver for them.
_TORCH_WITH_CUDA = Package("PyTorch", (2, 4), 2500, "BSD-3-Clause; with NVIDIA's libraries under NVIDIA's license")


def requirementFor(name: str, why: str, withCuda: bool) -> Requirement:
    """Describe a package that is missing."""
    package = _TORCH_WITH_CUDA if name == "torch" and withCuda else PACKAGES[name]
    return Requirement(name, package.sizeMb, package.license, why)


def lacking(found: Installation) -> dict[str, str]:
    """Return which packages a Python lacks, and why.

    Raises:
        WorkerError: no package would help this Python.
    """
    reasons = {name: _reason(name, found.versions.get(name)) for name in PACKAGES}
    reasons = {name: reason for name, reason in reasons.items() if reason}
    _requireHope(found, "torch" in reasons)
    return reasons


def versionRange(name: str) -> str:
    """Return the versions that do, as pip reads it."""
    return ">={}.{}".format(*PACKAGES[name].oldest)


def pipLine(name: str) -> str:
    """Return how `requirements.txt` asks for a package; only what is in that file goes into Slicer's Python with pip.

    Raises:
        WorkerError: it is not there. NumPy, say, belongs to Slicer: another version would break Slicer itself.
    """
    lines = [line.strip() for line in REQUIREMENTS_FILE.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if re.split(r"[^\w.-]", line)[0] == name]
    if not wanted:
        text = _("Slicer's {title} is not suitable: update Slicer, or choose another Python.")
        raise WorkerError(text.format(title=PACKAGES[name].title))
    return wanted[0]


def titles(requirements: Sequence[Requirement]) -> str:
    """Name the packages for people."""
    return ", ".join(PACKAGES[requirement.name].title for requirement in requirements)


def sizeText(megabytes: int) -> str:
    """Return a size for people."""
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes} MB"


def _reason(name: str, version: str | None) -> str:
    """Say why an installed version does not do; empty if it does."""
    if version is None:
        return _("not installed")
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < PACKAGES[name].oldest:
        return _("version {version} is too old").format(version=version)
    return ""


def _requireHope(found: Installation, lacksTorch: bool) -> None:
    if found.python < _OLDEST_PYTHON:
        text = _("Python {version} is too old: choose one of 3.10 or newer.")
        raise WorkerError(text.format(version=".".join(map(str, found.python))))
    if lacksTorch and (found.system, found.machine) == ("darwin", "x86_64"):
        raise WorkerError(
            _(
                "This Python is for Intel Macs, where PyTorch ended with 2.2; MedSAM-2 needs 2.4, and 2.2 cannot "
                "exchange data with NumPy 2: choose another Python (for Apple chips an arm64 one), or a remote machine."
            )
        )
