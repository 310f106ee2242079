"""Reading files block by block, and their checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from medsam2_core.errors import WeightsError

_BLOCK_BYTES = 1 << 20


def read_blocks(path: Path) -> Iterator[bytes]:
    """Read a file of any size in blocks; WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}): check the file.") from error


def file_sha256(path: Path) -> str:
    """Checksum of a file, as 64 hexadecimal digits; WeightsError if it cannot be read."""
    digest = hashlib.sha256()
    for block in read_blocks(path):
        digest.update(block)
    return digest.hexdigest()
