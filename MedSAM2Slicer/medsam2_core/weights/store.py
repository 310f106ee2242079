"""The model files on this machine: those that come with the product and those the user fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from uuid import uuid4

from medsam2_core.errors import WeightsError
from medsam2_core.files.lock import try_lock
from medsam2_core.weights.catalog import ModelEntry, find_entry, load_catalog, models_folder
from medsam2_core.weights.checksum import file_sha256, read_blocks
from medsam2_core.weights.download import Cancellation, Patience, ProgressCallback, RemoteFile, download_file, part_path
from medsam2_core.weights.part_file import PartFile, disk_errors
from medsam2_core.weights.user_folder import user_folder


class ModelState(Enum):
    """Where a model's file is."""

    BUNDLED = "bundled"
    INSTALLED = "installed"
    MISSING = "missing"


class WeightsStore:
    """Finds, fetches, checks and removes model files.

    folder: where fetched files are kept (default: `user_folder()`).
    `catalog`: the known models by name (default: the product's).
    bundled_folder: where the files that come with the product lie (default: `models_folder()`).
    patience: how long a download bears with a bad line.

    Every method that takes a model's name raises WeightsError for an unknown one.
    """

    def __init__(
        self,
        folder: Path | None = None,
        catalog: Mapping[str, ModelEntry] | None = None,
        *,
        bundled_folder: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.folder = user_folder() if folder is None else folder
        self.catalog = load_catalog() if catalog is None else catalog
        self._bundled_folder = models_folder() if bundled_folder is None else bundled_folder
        self._patience = patience

    def state(self, name: str) -> ModelState:
        """Say where the file of the model `name` is."""
        entry = find_entry(self.catalog, name)
        if self._bundled(entry).is_file():
            return ModelState.BUNDLED
        return ModelState.INSTALLED if self._installed(entry).is_file() else ModelState.MISSING

    def path(self, name: str) -> Path:
        """Return the file of the model `name`.

        Raises:
            WeightsError: it is not on this machine; the message says how to get it.
        """
        entry = find_entry(self.catalog, name)
        state = self.state(name)
        if state is ModelState.MISSING:
            raise WeightsError(_how_to_get(entry))
        return self._bundled(entry) if state is ModelState.BUNDLED else self._installed(entry)

    def installed(self) -> list[str]:
        """Names of the models that can be used now, bundled ones included, in the catalog's order."""
        return [name for name in self.catalog if self.state(name) is not ModelState.MISSING]

    def download(
        self,
        name: str,
        progress: ProgressCallback | None = None,
        cancel: Cancellation | None = None,
        accept_license: bool = False,
    ) -> Path:
        """Fetch the model `name` unless it is here, and return its file. An interrupted download resumes.

        `accept_license` is the user's yes to `ModelEntry.license_text`; a permissive license needs none.

        Raises:
            WeightsError: license not accepted, or network, disk or checksum trouble.
            Cancelled: `cancel` asked to stop; what has arrived is kept.
        """
        entry = find_entry(self.catalog, name)
        if self.state(name) is not ModelState.MISSING:
            return self.path(name)
        source = _source(entry)
        if not (entry.permissive or accept_license):
            raise WeightsError(_license_question(entry))
        target = self._installed(entry)
        with self._locked(entry):
            # Another process may have finished it between the first look and the lock.
            if not target.is_file():
                download_file(source, target, progress=progress, cancel=cancel, patience=self._patience)
        return target

    def import_file(self, path: Path, name: str | None = None) -> str:
        """Copy a model file that was fetched by other means into the store and return its model's name.

        The file is recognized by its content; `name` says which model it must be.

        Raises:
            WeightsError: it cannot be read, or it is not (that) model of the catalog, byte by byte.
        """
        if name is not None:
            find_entry(self.catalog, name)
        # The copy is what gets checked, so that a file changed meanwhile cannot slip in.
        with PartFile(self.folder / f"import-{uuid4().hex}.part", path.name) as copy:
            try:
                for block in read_blocks(path):
                    copy.append(block)
                entry = self._recognize(path, copy.sha256, name)
                self._adopt(copy, entry)
            finally:
                copy.discard()
        return entry.name

    def remove(self, name: str) -> None:
        """Delete the fetched file of the model `name` and what a broken download left of it.

        Raises:
            WeightsError: the model comes with the product, is being downloaded, or cannot be deleted.
        """
        entry = find_entry(self.catalog, name)
        target = self._installed(entry)
        leftovers = [file for file in (target, part_path(target)) if file.exists()]
        if not leftovers:
            if self.state(name) is ModelState.BUNDLED:
                raise WeightsError(f"{name} comes with MedSAM2Slicer and cannot be removed: uninstall MedSAM2Slicer.")
            return
        with self._locked(entry), disk_errors(name, self.folder):
            for file in leftovers:
                file.unlink(missing_ok=True)

    def verify(self, name: str) -> None:
        """Read the whole file of the model `name` and compare its checksum with the catalog's.

        Raises:
            WeightsError: the file is missing, unreadable or damaged, or the catalog has no checksum for it.
        """
        entry = find_entry(self.catalog, name)
        path = self.path(name)
        if not entry.sha256:
            raise WeightsError(f"{name} has no checksum in the catalog: install a released MedSAM2Slicer to verify.")
        if file_sha256(path) != entry.sha256:
            raise WeightsError(f"{name} is damaged ({path} has a wrong checksum): {_repair(entry, self.state(name))}.")

    def _bundled(self, entry: ModelEntry) -> Path:
        return self._bundled_folder / entry.file

    def _installed(self, entry: ModelEntry) -> Path:
        return self.folder / entry.file

    def _adopt(self, copy: PartFile, entry: ModelEntry) -> None:
        target = self._installed(entry)
        with self._locked(entry), disk_errors(entry.name, self.folder):
            copy.finish(target)
            part_path(target).unlink(missing_ok=True)

    def _recognize(self, path: Path, sha256: str, name: str | None) -> ModelEntry:
        candidates = list(self.catalog.values()) if name is None else [self.catalog[name]]
        for entry in candidates:
            if entry.sha256 == sha256:
                return entry
        raise WeightsError(_not_recognized(path, sha256, candidates))

    @contextmanager
    def _locked(self, entry: ModelEntry) -> Iterator[None]:
        """Keep other processes from the model's files for the statements inside."""
        with ExitStack() as stack:
            with disk_errors(entry.name, self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                held = stack.enter_context(try_lock(self.folder / f".{entry.file}.lock"))
            if not held:
                raise WeightsError(f"{entry.name} is being downloaded by another program: wait for it to finish.")
            yield


def _source(entry: ModelEntry) -> RemoteFile:
    if entry.url is None:
        raise WeightsError(_how_to_get(entry))
    return RemoteFile(entry.name, entry.url, entry.sha256, entry.size_bytes)


def _how_to_get(entry: ModelEntry) -> str:
    if entry.url is None:
        return f"{entry.name} should have come with MedSAM2Slicer but {entry.file} is missing: reinstall MedSAM2Slicer."
    return (
        f"{entry.name} is not on this computer: run `medsam2 models download {entry.name}`, or fetch {entry.file} "
        "elsewhere and run `medsam2 models import FILE`."
    )


def _license_question(entry: ModelEntry) -> str:
    return (
        f"{entry.name} has a license to accept before the download: {entry.license_text} If you agree, pass "
        "accept_license=True (on the command line --accept-license)."
    )


def _not_recognized(path: Path, sha256: str, candidates: list[ModelEntry]) -> str:
    if len(candidates) == 1:
        expected = f"the model {candidates[0].name} (expected sha256 {candidates[0].sha256}, found {sha256})"
    else:
        names = ", ".join(entry.name for entry in candidates)
        expected = f"any of the known models {names} (its sha256 is {sha256})"
    return (
        f"{path.name} is not {expected}: fetch the published file again, or load a checkpoint of your own by its "
        "path instead of importing it."
    )


def _repair(entry: ModelEntry, state: ModelState) -> str:
    if state is ModelState.BUNDLED:
        return "reinstall MedSAM2Slicer"
    return f"run `medsam2 models remove {entry.name}` and `medsam2 models download {entry.name}`"
