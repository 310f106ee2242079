"""Image features kept on disk in a folder that the user names, from one run, session or program to the next.

With a published model on a processor, encoding is half of a first propagation and nearly all of a first click.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from medsam2_core.errors import VolumeError
from medsam2_core.feature_place import FOLDER_VARIABLE, SUFFIX, feature_place
from medsam2_core.files.draft import Draft
from medsam2_core.model import SAM2, ImageFeatures
from medsam2_core.notices import tell

_LOOKS = 16  # through the folder while as much is added as it may hold
_SUM_BYTES = 4  # at a file's start, of all that follows; torch reads changed numbers without a word


class FeatureFolder:
    """Features by what the model sees, whichever volume, slice, axis or window it comes from: nothing is ever stale.

    The files used longest ago go first when `max_bytes` is reached. Processes may share a folder, and computers too:
    what another one made differs by rounding. Trouble with it ends no run: it is reported, and nothing more is kept.
    """

    def __init__(self, folder: Path, model: SAM2, max_bytes: int) -> None:
        self._folder, self._model, self._max_bytes = folder, model, max_bytes
        self._weights = _digest(model)
        self._unseen = self._room = 0  # bytes that were added since the folder was looked through, and may be

    @classmethod
    def chosen(cls, model: SAM2) -> FeatureFolder | None:
        """The folder that the environment names, if any. Raises VolumeError as `feature_place`."""
        place = feature_place()
        return None if place is None else cls(place[0], model, place[1])

    def find(self, image: Tensor) -> ImageFeatures | None:
        """The features of an image as the model sees it, on the model's device; None if they are not here."""
        path = self._path(image)
        try:
            stored = path.read_bytes()
        except OSError:
            return None
        content = memoryview(stored)[_SUM_BYTES:]
        if stored[:_SUM_BYTES] != _sum(content):  # damaged
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # a folder that may only be read serves, too
            os.utime(path)
        return ImageFeatures(*torch.load(io.BytesIO(content), map_location=self._model.device, weights_only=True))

    def keep(self, image: Tensor, features: ImageFeatures) -> None:
        """Store the features of an image."""
        if self._max_bytes <= 0:
            return
        path = self._path(image)
        written = io.BytesIO()
        torch.save(tuple(level.cpu() for level in features), written)
        content = written.getbuffer()
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # of patients: for nobody else
            self._write(path, content)
            self._make_room(len(content))
        except VolumeError as error:
            self._give_up(str(error))
        except OSError as error:
            self._give_up(f"{error.strerror or error}; set {FOLDER_VARIABLE} to a folder that can be written.")

    def _write(self, path: Path, content: memoryview) -> None:
        try:
            with Draft(path) as draft:
                draft.file.write(_sum(content))
                draft.file.write(content)
                draft.keep()
        except (OSError, VolumeError) as error:
            if not isinstance(error.__cause__ or error, FileNotFoundError):  # somebody deletes the folder meanwhile
                raise

    def _give_up(self, reason: str) -> None:
        self._max_bytes = 0
        tell(f"Image features are no longer kept in {self._folder}: {reason}")

    def _path(self, image: Tensor) -> Path:
        seen = image.contiguous().cpu()
        digest = hashlib.sha256(self._weights + f"{tuple(seen.shape)} {seen.dtype}".encode())
        digest.update(seen.numpy().data)
        return self._folder / f"{digest.hexdigest()}{SUFFIX}"

    def _make_room(self, added: int) -> None:
        """Remove the files used longest ago if there are too many bytes, a tenth more than must be.

        The folder is looked through now and then, since other processes may add to it.
        """
        self._unseen += added
        if self._unseen <= self._room:
            return
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        least = self._max_bytes * 9 // 10 if total > self._max_bytes else total
        for _, size, path in files[:-1]:  # never the last
            if total <= least:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._unseen, self._room = 0, min(self._max_bytes - total, self._max_bytes // _LOOKS)

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """When each was used last, its bytes and its place; other processes may remove some meanwhile."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            with suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime, found.st_size, path


def _sum(content: memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(_SUM_BYTES, "little")


def _digest(model: SAM2) -> bytes:
    """What features depend on besides the image: the weights, with their type of number, and the settings."""
    digest = hashlib.sha256(repr(model.config).encode())
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {weight.dtype}".encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.digest()
