"""Numbers and prompts in the words that the panel shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Progress
    from MedSAM2SlicerLib.prompts import PromptItem

_MINUTE = 60


def megabytes(size: float | None) -> str:
    """Return a file size in MB; `size` is in bytes, None if unknown."""
    if size is None:
        return _("unknown size")
    return _("{size} MB").format(size=round(size / 1e6))


def milliliters(volume: float) -> str:
    """Return a volume in mL, to three digits or whole milliliters."""
    if volume < 100:
        return _("{volume} mL").format(volume=f"{volume:.3g}")
    return _("{volume} mL").format(volume=f"{volume:,.0f}")


def progressText(progress: Progress) -> str:
    """Return slices done, their rate and the time left."""
    parts = [f"{progress.done}/{progress.planned}"]
    if progress.slicesPerSecond:
        decimals = 0 if progress.slicesPerSecond >= 10 else 1
        parts.append(_("{rate}/s").format(rate=f"{progress.slicesPerSecond:.{decimals}f}"))
    if progress.secondsLeft is not None:
        parts.append(_timeLeft(round(progress.secondsLeft)))
    return " · ".join(parts)


def promptText(sliceIndex: int, items: Sequence[PromptItem]) -> str:
    """Return a line for the prompts of one slice: their kinds and how many of each."""
    counts = Counter(item.kind for item in items)
    names = {
        "box": _("{count} box"),
        "include": _("{count} include"),
        "exclude": _("{count} exclude"),
        "curve": _("{count} outline"),
        "segment": _("{count} segment"),
    }
    kinds = [names[kind].format(count=counts[kind]) for kind in names if counts[kind]]
    return _("Slice {index} · {prompts}").format(index=sliceIndex, prompts=", ".join(kinds))


def _timeLeft(seconds: int) -> str:
    if seconds < _MINUTE:
        return _("{seconds} s left").format(seconds=seconds)
    return _("{minutes} min left").format(minutes=-(-seconds // _MINUTE))
