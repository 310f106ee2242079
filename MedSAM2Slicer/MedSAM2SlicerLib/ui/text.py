"""Numbers, prompts and slices in the words that the panel shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error
from medsam2_core.stopping import read_stop
from MedSAM2SlicerLib.scene.measures import milliliters
from MedSAM2SlicerLib.scene.slicereview import (
    ACCEPTED,
    EDITED,
    LARGE_CHANGE,
    LARGE_DISAGREEMENT,
    LOCKED,
    PROMPTED,
    PROPAGATED,
    STALE,
    SliceReview,
)

if TYPE_CHECKING:
    from MedSAM2SlicerLib.prompts.promptnodes import PromptItem
    from MedSAM2SlicerLib.scene.measures import Measures
    from MedSAM2SlicerLib.ui.choices import Choices
    from MedSAM2SlicerLib.work.pace import Outlook
    from MedSAM2SlicerLib.work.running import Progress

_MINUTE = 60
_NAMED_INTERVALS = 2  # more would widen the panel
_NAME = 24  # characters of a segment's name


def megabytes(size: float | None) -> str:
    """Return a file size in MB; `size` is in bytes, None if unknown."""
    if size is None:
        return _("unknown size")
    return _("{size} MB").format(size=round(size / 1e6))


def millimeters(length: float) -> str:
    """Return a length in mm, to a tenth below 100 mm."""
    return _("{length} mm").format(length=_length(length))


def faultText(error: Exception) -> str:
    """Return a sentence about an unexpected exception, or what one of ours says."""
    if isinstance(error, MedSAM2Error):
        return str(error)
    return _(
        "Something went wrong in MedSAM2Slicer ({kind}); your work is kept, and View > Error Log says more."
    ).format(kind=type(error).__name__)


def shortened(name: str) -> str:
    """Return a name of at most `_NAME` characters; of a longer one the middle is left out."""
    if len(name) <= _NAME:
        return name
    end = (_NAME - 1) // 2
    return f"{name[: _NAME - 1 - end]}…{name[-end:]}"


def segmentText(name: str, measures: Measures, stops: Mapping[str, str]) -> str:
    """Return a segment's name with its volume, long and short axis, and where it stopped; nothing for an empty one.

    `stops` are the reasons by direction.
    """
    if not measures.volumeMl:
        return ""
    axes = _("{long} × {short}").format(long=_length(measures.longAxisMm), short=millimeters(measures.shortAxisMm))
    if measures.sliceIndex is not None:
        axes = _("{axes} on slice {index}").format(axes=axes, index=measures.sliceIndex)
    volume = _("{name} {volume}").format(name=shortened(name), volume=milliliters(measures.volumeMl))
    return " · ".join(filter(None, [volume, axes, stopsText(stops)]))


def stopsText(stops: Mapping[str, str]) -> str:
    """Return why the directions of a propagation ended, in few words; nothing of one that came to the end."""
    found: dict[str, list[int]] = {}
    for index, reason in filter(None, map(read_stop, stops.values())):
        found.setdefault(reason, []).append(index)
    texts = [
        _("stopped at {slices}: {reason}").format(slices=_(" and ").join(map(str, sorted(slices))), reason=reason)
        for reason, slices in found.items()
    ]
    return "; ".join(texts)


def rangeText(span: tuple[int, int] | None, choices: Choices) -> str:
    """Return the slices of a propagation, the last one included, and its direction; None: there are none."""
    if span is None:
        return _("No slices")
    ways = {"both": _("both ways"), "forward": _("forward"), "backward": _("backward")}
    planes = {"axial": _("axial"), "coronal": _("coronal"), "sagittal": _("sagittal")}
    slices = _("{first}–{last}, {direction}").format(first=span[0], last=span[1], direction=ways[choices.direction])
    plane = planes.get(choices.axis)
    return _("{plane} {slices}").format(plane=plane, slices=slices) if plane else slices


def placingText(kind: str) -> str:
    """Return what to do with the mouse while prompts of a kind are placed; nothing where that needs no words."""
    hints = {
        "include": _("Click on the object in a slice view."),
        "exclude": _("Click on what the mask should leave out."),
        "box": _("Click two opposite corners of a box around the object."),
        "line": _("Click both ends of the object's longest diameter."),
        "curve": _("Click around the object on one slice; the right button ends."),
        "scribble": _("Click along the object's inside; the right button ends."),
    }
    return hints.get(kind, "")


def promptsTexts(count: int, slices: Sequence[int], edited: int) -> list[str]:
    """Return how many prompts and edited slices there are, and on which slices; then the same in fewer words."""
    prompts = _("1 prompt") if count == 1 else _("{count} prompts").format(count=count)
    edits = _("1 edit") if edited == 1 else _("{count} edits").format(count=edited)
    if not slices:
        return [_("No prompts")]
    counts = ", ".join([prompts] * bool(count) + [edits] * bool(edited))
    return [f"{counts}: {', '.join(map(str, slices))}", counts, str(count + edited)]


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
    if not doubtful:
        return described
    return _("{described}\nDoubtful: {reason}").format(described=described, reason=_whyDoubtful(review))


def doubtText(review: SliceReview, place: int, count: int) -> str:
    """Return why a slice is in doubt, the `place`-th of `count`, beginning with 1."""
    return _("Slice {index} ({place} of {count} in doubt): {reason}").format(
        index=review.sliceIndex, place=place, count=count, reason=_whyDoubtful(review)
    )


def progressText(progress: Progress) -> str:
    """Return slices done, their rate and the time left."""
    parts = [f"{progress.done}/{progress.planned}"]
    if progress.slicesPerSecond:
        decimals = 0 if progress.slicesPerSecond >= 10 else 1
        parts.append(_("{rate}/s").format(rate=f"{progress.slicesPerSecond:.{decimals}f}"))
    if progress.secondsLeft is not None:
        parts.append(_("{time} left").format(time=_time(round(progress.secondsLeft))))
    return " · ".join(parts)


def timeText(done: int, planned: int) -> str:
    """Return how far a run through the frames of a sequence is."""
    text = _("Through time: {done} of 1 frame") if planned == 1 else _("Through time: {done} of {planned} frames")
    return text.format(done=done, planned=planned)


def looksText(done: int, planned: int) -> str:
    """Return how far a run on a set of images is, which are looked at several times."""
    text = _("{done} of 1 look at an image") if planned == 1 else _("{done} of {planned} looks at an image")
    return text.format(done=done, planned=planned)


def outlookText(outlook: Outlook | None) -> str:
    """Return through how many slices a propagation goes and how long it takes; nothing where that is not known."""
    if outlook is None or not outlook.slices or outlook.seconds is None:
        return ""
    slices = _("1 slice") if outlook.slices == 1 else _("{count} slices").format(count=outlook.slices)
    if outlook.segments > 1:
        slices = _("{slices} in {count} segments").format(slices=slices, count=outlook.segments)
    if outlook.axes > 1:
        slices = _("{slices}, along {count} axes").format(slices=slices, count=outlook.axes)
    time = _time(max(round(outlook.seconds), 1))
    if not outlook.isAtMost:
        return _("{slices}: about {time} on this machine.").format(slices=slices, time=time)
    text = _("Up to {slices}: at most about {time} on this machine, less where the object ends sooner.")
    return text.format(slices=slices, time=time)


def liveText(sliceMilliseconds: float | None, isSlow: bool) -> str:
    """Return what Live does, and how long a slice takes on this machine if that is known."""
    says = [_("Propagate by itself, 0.3 s after the last prompt or edit; the next one begins it again. Key: u")]
    if sliceMilliseconds is not None:
        says.append(_("A slice takes {time} ms on this machine.").format(time=round(sliceMilliseconds)))
    if isSlow:
        says.append(_("That is long, so Live is off unless you switch it on."))
    return " ".join(says)


def promptText(sliceIndex: int, items: Sequence[PromptItem], edited: bool) -> str:
    """Return a line for the prompts of one slice: their kinds and how many of each, and whether it was edited."""
    counts = Counter(item.kind for item in items)
    names = {
        "box": (_("1 box"), _("{count} boxes")),
        "line": (_("1 line"), _("{count} lines")),
        "include": (_("1 include"), _("{count} include")),
        "exclude": (_("1 exclude"), _("{count} exclude")),
        "curve": (_("1 outline"), _("{count} outlines")),
        "segment": (_("1 segment"), _("{count} segments")),
        "scribble": (_("1 scribble"), _("{count} scribbles")),
        "scribbleOut": (_("1 exclude scribble"), _("{count} exclude scribbles")),
    }
    found = [(counts[kind], *names[kind]) for kind in names if counts[kind]]
    kinds = [one if count == 1 else several.format(count=count) for count, one, several in found]
    kinds += [_stateName(EDITED)] if edited else []
    return _("Slice {index} · {prompts}").format(index=sliceIndex, prompts=", ".join(kinds))


def _time(seconds: int) -> str:
    if seconds < _MINUTE:
        return _("{seconds} s").format(seconds=seconds)
    return _("{minutes} min").format(minutes=-(-seconds // _MINUTE))


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
        return _("the mask differs a lot from the slice before.")
    if (review.disagreement or 0.0) >= LARGE_DISAGREEMENT:
        return _("the three axes disagree on it.")
    return _("the model is less sure of it than of the others.")


def _length(millimeters: float) -> str:
    return f"{millimeters:.{0 if millimeters >= 100 else 1}f}"
