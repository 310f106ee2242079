"""A resumable download whose checksum is proven before the file gets its name. Knows nothing of the catalog."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from medsam2_core.errors import Cancelled, WeightsError
from medsam2_core.weights.part_file import PartFile
from medsam2_core.weights.web import (
    RangeRefusedError,
    ResponseBody,
    TransferInterruptedError,
    TransferRefusedError,
    open_body,
)

ProgressCallback = Callable[[int, "int | None"], None]
"""Called with the bytes done and the bytes in all (None where unknown)."""

_CANCEL_POLL_SECONDS = 0.1


class Cancellation(Protocol):
    """Anything that can be asked whether the user wants to stop."""

    @property
    def cancelled(self) -> bool:
        """Whether to stop."""
        ...


@dataclass(frozen=True)
class RemoteFile:
    """What to download.

    label: the model's name for messages; sha256: 64 hexadecimal digits; size_bytes: None where unknown.
    """

    label: str
    url: str
    sha256: str
    size_bytes: int | None


@dataclass(frozen=True)
class Patience:
    """How long to bear with a bad line.

    stall_seconds: a silence that counts as a broken connection (a cancel takes effect by then at the latest).
    tries: connections in a row that bring nothing new before giving up.
    pause_seconds: wait before the second try; it doubles each time.
    """

    stall_seconds: float = 30.0
    tries: int = 5
    pause_seconds: float = 1.0


def part_path(target: Path) -> Path:
    """Where the unfinished download of `target` is kept."""
    return target.with_name(f"{target.name}.part")


def download_file(
    source: RemoteFile,
    target: Path,
    *,
    progress: ProgressCallback | None = None,
    cancel: Cancellation | None = None,
    patience: Patience | None = None,
) -> None:
    """Download `source` to `target`, going on from what an earlier call left. The caller keeps others from `target`.

    Raises:
        WeightsError: the network, the server, the disk or the checksum failed; the message says which.
        Cancelled: `cancel` asked to stop; what has arrived is kept for the next call.
    """
    with PartFile(part_path(target), source.label) as part:
        _Download(source, part, progress, cancel, patience or Patience()).run()
        part.finish(target)


@dataclass(frozen=True)
class _Download:
    source: RemoteFile
    part: PartFile
    progress: ProgressCallback | None
    cancel: Cancellation | None
    patience: Patience

    def run(self) -> None:
        self.part.read_back(self._check_cancel)
        # The checksum, not the length, says whether an earlier call got everything: the length may be unknown.
        if self.part.sha256 == self.source.sha256:
            return
        if self.source.size_bytes is not None and self.part.size >= self.source.size_bytes:
            self.part.restart()
        self._transfer_patiently()
        self._require_checksum()

    def _transfer_patiently(self) -> None:
        failures = 0
        furthest = self.part.size
        while True:
            self._check_cancel()
            try:
                self._transfer()
            except TransferInterruptedError as broken:
                # Only bytes never had before count as progress, so that a server without ranges cannot loop us.
                failures = 0 if self.part.size > furthest else failures + 1
                furthest = max(furthest, self.part.size)
                self._give_up_or_wait(failures, broken)
            except TransferRefusedError as refused:
                raise self._refused(refused) from refused
            else:
                return

    def _transfer(self) -> None:
        try:
            with open_body(self.source.url, self.part.size, self.patience.stall_seconds) as body:
                self._receive(body)
        except RangeRefusedError:
            self.part.restart()
            raise

    def _receive(self, body: ResponseBody) -> None:
        total = self._agreed_total(body.total)
        if total is not None:
            self.part.require_space(total)
        if body.start != self.part.size:
            self.part.restart()
        self._report(total)
        for block in body.blocks(total):
            self.part.append(block)
            self._report(total)
            self._check_cancel()

    def _agreed_total(self, offered: int | None) -> int | None:
        expected = self.source.size_bytes
        if expected is not None and offered is not None and offered != expected:
            raise WeightsError(
                f"{self.source.label} should have {expected} bytes and {self._host} offers {offered}: "
                "check whether a login page or proxy is in the way, or update MedSAM2Slicer."
            )
        return offered if expected is None else expected

    def _require_checksum(self) -> None:
        if self.part.sha256 == self.source.sha256:
            return
        self.part.discard()
        raise WeightsError(
            f"{self.source.label} arrived from {self._host} with a wrong checksum and was deleted: download it "
            "again, and if that does not help update MedSAM2Slicer, as the file at the source has changed."
        )

    def _give_up_or_wait(self, failures: int, broken: TransferInterruptedError) -> None:
        if failures >= self.patience.tries:
            raise WeightsError(
                f"{self.source.label} could not be downloaded from {self._host} ({broken}): check the network and "
                "proxy, then download it again (it resumes where it stopped), or fetch the file elsewhere and use "
                "`medsam2 models import FILE`."
            ) from broken
        self._wait(self.patience.pause_seconds * 2.0 ** max(failures - 1, 0))

    def _refused(self, refused: TransferRefusedError) -> WeightsError:
        return WeightsError(
            f"{self.source.label} cannot be downloaded from {self.source.url} ({refused}): update MedSAM2Slicer, or "
            "fetch the file elsewhere and use `medsam2 models import FILE`."
        )

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check_cancel()
            time.sleep(min(left, _CANCEL_POLL_SECONDS))

    def _report(self, total: int | None) -> None:
        if self.progress is not None:
            self.progress(self.part.size, total)

    def _check_cancel(self) -> None:
        if self.cancel is not None and self.cancel.cancelled:
            raise Cancelled(f"{self.source.label} was not downloaded completely: download it again to resume.")

    @property
    def _host(self) -> str:
        return urlsplit(self.source.url).hostname or self.source.url
