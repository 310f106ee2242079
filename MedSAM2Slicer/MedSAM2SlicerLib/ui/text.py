"""Numbers and prompts in the words that the panel shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from MedSAM2SlicerLib.slicestates import (
    ACCEPTED,
    EDITED,
    LARGE_CHANGE,
    LOCKED,
    PROMPTED,
    PROPAGATED,
    STALE,
    SliceReview,
)

if TYPE_CHECKING:
    from MedSAM2SlicerLib.measures import Measures
    from MedSAM2SlicerLib.promptnodes import PromptItem
    from MedSAM2SlicerLib.running import Progress

_MINUTE = 60
_NAMED_INTERVALS = 2  # more would widen the panel
_SPACE = "\u00a0"  # between thousands, where a line must not break


def megabytes(size: float | None) -> str:
    """Return a file size in MB; `size` is in bytes, None if unknown."""
    if size is None:
        return _("unknown size")
    return _("{size} MB").format(size=round(size / 1e6))


def milliliters(volume: float) -> str:
    """Return a volume in mL, to three digits or whole milliliters."""
    if volume < 100:
        return _("{volume} mL").format(volume=f"{volume:.3g}")
    return _("{volume} mL").format(volume=f"{volume:,.0f}".replace(",", _SPACE))


def millimeters(length: float) -> str:
    """Return a length in mm, to a tenth below 100 mm."""
    return _("{length} mm").format(length=f"{length:.{0 if length >= 100 else 1}f}")


def faultText(error: Exception) -> str:
    """Return a sentence about an exception that nobody expected, or what one of ours says."""
    if isinstance(error, MedSAM2Error):
        return str(error)
    return _(
        "Something went wrong in MedSAM2Slicer ({kind}); your work is kept, and View > Error Log says more."
    ).format(kind=type(error).__name__)


def measuresText(name: str, measures: Measures, leastSure: SliceReview | None = None) -> str:
    """Return a segment's name with its volume, axes and lowest confidence; nothing for an empty one."""
    if not measures.volumeMl:
        return ""
    text = _("{name} {volume} · long axis {long} · short axis {short}").format(
        name=name,
        volume=milliliters(measures.volumeMl),
        long=millimeters(measures.longAxisMm),
        short=millimeters(measures.shortAxisMm),
    )
    if measures.sliceIndex is not None:
        text = _("{measures} (slice {index})").format(measures=text, index=measures.sliceIndex)
    if leastSure is None:
        return text
    least = _("min {confidence} at {index}").format(
        confidence=f"{leastSure.confidence:.2f}", index=leastSure.sliceIndex
    )
    return f"{text} · {least}"


def propagateText(intervals: Sequence[tuple[int, int]]) -> str:
    """Return the button's text; `intervals` are half-open, none for the whole range."""
    if not intervals:
        return _("Propagate  p")
    if len(intervals) > _NAMED_INTERVALS:
        return _("Propagate {count} intervals  p").format(count=len(intervals))
    slices = ", ".join(f"{first}–{last - 1}" for first, last in intervals)
    return _("Propagate {slices}  p").format(slices=slices)


def sliceText(sliceIndex: int, review: SliceReview | None, doubtful: bool) -> str:
    """Return what is known of a slice, and why it is in doubt if it is."""
    if review is None:
        return _("Slice {index}: not segmented").format(index=sliceIndex)
    described = _("Slice {index}: {state}").format(index=sliceIndex, state=_stateName(review.state))
    if review.origin != EDITED:
        described += _(", confidence {confidence}").format(confidence=f"{review.confidence:.2f}")
    return f"{described}\n{_whyDoubtful(review)}" if doubtful else described


def progressText(progress: Progress) -> str:
    """Return slices done, their rate and the time left."""
    parts = [f"{progress.done}/{progress.planned}"]
    if progress.slicesPerSecond:
        decimals = 0 if progress.slicesPerSecond >= 10 else 1
        parts.append(_("{rate}/s").format(rate=f"{progress.slicesPerSecond:.{decimals}f}"))
    if progress.secondsLeft is not None:
        parts.append(_timeLeft(round(progress.secondsLeft)))
    return " · ".join(parts)


def promptText(sliceIndex: int, items: Sequence[PromptItem], edited: bool = False) -> str:
    """Return a line for the prompts of one slice: their kinds and how many of each, and whether it was edited."""
    counts = Counter(item.kind for item in items)
    names = {
        "box": _("{count} box"),
        "line": _("{count} line"),
        "include": _("{count} include"),
        "exclude": _("{count} exclude"),
        "curve": _("{count} outline"),
        "segment": _("{count} segment"),
    }
    kinds = [names[kind].format(count=counts[kind]) for kind in names if counts[kind]]
    kinds += [_stateName(EDITED)] if edited else []
    return _("Slice {index} · {prompts}").format(index=sliceIndex, prompts=", ".join(kinds))


def _timeLeft(seconds: int) -> str:
    if seconds < _MINUTE:
        return _("{seconds} s left").format(seconds=seconds)
    return _("{minutes} min left").format(minutes=-(-seconds // _MINUTE))


def _stateName(state: str) -> str:
    names = {
        PROMPTED: _("prompted"),
        EDITED: _("edited"),
        PROPAGATED: _("propagated"),
        ACCEPTED: _("accepted"),
        LOCKED: _("locked"),
        STALE: _("stale, propagate again"),
    }
    return names[state]


def _whyDoubtful(review: SliceReview) -> str:
    if review.change >= LARGE_CHANGE:
        return _("Doubtful: the mask differs much from the slice before.")
    return _("Doubtful: the model is less sure of it than of the others.")
