"""What to tell a person of an error that ended a command, or a case of a cohort."""

from __future__ import annotations

from medsam2_core.errors import MedSAM2Error, says_no_memory

_NO_MEMORY = (
    "There is not enough memory: close other programs, lift the limit (ulimit -v), or use a smaller volume or model."
)
_NO_THREAD = "can't start new thread"  # as Python says it, for lack of memory

EXPECTED = (MedSAM2Error, OSError, MemoryError, ImportError, UnicodeError, RuntimeError, SystemError)
"""The errors among which those are that `sentence_of` has words for."""


def sentence_of(error: BaseException) -> str | None:
    """What to tell; None for a mistake of ours. SystemError is how libraries in C fail where memory ran out."""
    if isinstance(error, MedSAM2Error):
        return str(error)
    if isinstance(error, MemoryError | SystemError) or says_no_memory(error) or _NO_THREAD in str(error):
        return _NO_MEMORY
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else "The output: "
        return f"{where}{error.strerror or error}; check the path, its permissions and the free disk space."
    if isinstance(error, ImportError):
        return f"A component cannot be loaded ({error}): install it again, or lift the memory limit if there is one."
    if isinstance(error, UnicodeEncodeError):
        return "A name contains characters that cannot be used here: rename it."
    return None
