"""`medsam2 doctor`: what a bug report needs to say about this machine and installation."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from medsam2_core.counting import counted
from medsam2_core.errors import MedSAM2Error
from medsam2_core.version import package_version

if TYPE_CHECKING:
    from medsam2_core.weights.store import WeightsStore

    SubParsers = argparse._SubParsersAction[argparse.ArgumentParser]

_GIB = 1 << 30
_TEST_SIZE = 64


def add_parser(subparsers: SubParsers) -> None:
    """Add `doctor`; it sets `command`, which takes the arguments and returns the exit code."""
    summary = "show what a bug report needs: versions, devices, models and a self test"
    parser = subparsers.add_parser("doctor", help=summary, description=f"{summary.capitalize()}.", allow_abbrev=False)
    parser.set_defaults(command=doctor)


def doctor(_arguments: argparse.Namespace) -> int:
    """Print the page; 1 if a part that is needed is missing, damaged or does not work, else 0."""
    healthy = True
    for check in (_machine, _packages, _devices, _models, _self_test):
        for name, value, good in check():
            healthy &= good
            print(f"{name:<14}{'' if good else 'PROBLEM: '}{value}", flush=True)
    return 0 if healthy else 1


_Finding = tuple[str, str, bool]  # name, value, and whether it is as it should be


def _machine() -> Iterator[_Finding]:
    yield "medsam2", package_version(), True
    yield "python", f"{platform.python_version()} ({sys.executable})", True
    yield "system", platform.platform(), True
    yield "processor", f"{counted(os.cpu_count() or 1, 'core')}, {platform.machine()}", True
    yield "memory", _memory(), True


def _memory() -> str:
    """Physical memory, where the standard library can tell."""
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= names.keys():
        return "unknown on this system"
    page = os.sysconf("SC_PAGE_SIZE")
    total = f"{page * os.sysconf('SC_PHYS_PAGES') / _GIB:.1f} GiB"
    if "SC_AVPHYS_PAGES" not in names:
        return total
    return f"{total}, {page * os.sysconf('SC_AVPHYS_PAGES') / _GIB:.1f} GiB unused"


def _packages() -> Iterator[_Finding]:
    return (_package(name) for name in ("numpy", "SimpleITK", "pydicom", "torch"))


def _package(name: str) -> _Finding:
    try:
        return name, metadata.version(name), True
    except metadata.PackageNotFoundError:
        return name, f"not installed: run `pip install {name}`", False


def _devices() -> Iterator[_Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a library that torch needs cannot be loaded
        yield "torch build", f"cannot be imported ({error}): install it again", False
        return
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
    yield "torch build", f"{build}, {torch.get_num_threads()} threads", True
    for index in range(torch.cuda.device_count()):
        yield _gpu(index)
    if not torch.cuda.is_available():
        yield "cuda", "none", True
    yield "mps", "available" if torch.backends.mps.is_available() else "none", True


def _gpu(index: int) -> _Finding:
    import torch

    try:
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:
        return "cuda", f"{index}: {error}".splitlines()[0], False
    name = torch.cuda.get_device_name(index)
    return "cuda", f"{index}: {name}, {free / _GIB:.1f} of {total / _GIB:.1f} GiB free", True


def _models() -> Iterator[_Finding]:
    from medsam2_core.weights.catalog import models_folder
    from medsam2_core.weights.store import WeightsStore

    try:
        store = WeightsStore()
        yield "models", f"with the product: {models_folder()}", True
        yield "", f"downloaded: {store.folder}{'' if store.folder.is_dir() else ' (not there yet)'}", True
        for name in store.installed():
            yield _checked(store, name)
        if not store.installed():
            yield "", "none on this computer: run `medsam2 models list`", True
    except (MedSAM2Error, OSError) as error:
        yield "models", str(error), False


def _checked(store: WeightsStore, name: str) -> _Finding:
    try:
        store.verify(name)
    except MedSAM2Error as error:
        return "", f"{name}: {error}", False
    return "", f"{name}: {store.state(name).value}, as published", True


def _self_test() -> Iterator[_Finding]:
    started = time.perf_counter()
    try:
        what = _segment_a_square()
    except (ImportError, RuntimeError, MedSAM2Error) as error:  # RuntimeError is what torch raises
        yield "self test", f"failed: {str(error).splitlines()[0]}", False
        return
    yield "self test", f"passed in {time.perf_counter() - started:.1f} s: {what}", True


def _segment_a_square() -> str:
    """Propagate a box through three small slices; says with which model, on which device, and how far it got."""
    import numpy as np

    import medsam2_core as m2

    try:
        model, what = m2.load_model("starter", image_size=_TEST_SIZE), "starter model"
    except m2.WeightsError:
        model, what = m2.build_model("starter", image_size=_TEST_SIZE), "random weights (no starter model here)"
    volume = np.zeros((3, _TEST_SIZE, _TEST_SIZE), dtype=np.int16)
    volume[:, 16:48, 16:48] = 100
    session = m2.VolumeSession(model, volume, window=m2.Window(0, 100, "self test"))
    session.add_box(1, 1, (16, 16, 47, 47))
    steps = list(session.propagate())
    if len(steps) != len(volume):
        raise m2.VolumeError(f"The self test reached {len(steps)} of {counted(len(volume), 'slice')}.")
    return f"{what} at {_TEST_SIZE} pixels on {model.device.type}, {counted(len(steps), 'slice')}"
