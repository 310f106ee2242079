"""What the pieces of the panel have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from slicer.i18n import tr as _

from MedSAM2SlicerLib.scene.slicereview import PROPAGATED

if TYPE_CHECKING:
    from MedSAM2SlicerLib.controller import Controller
    from MedSAM2SlicerLib.signal import Signal, Slot


class Closing(Protocol):
    """What there is of a panel, as long as there is a panel."""

    def close(self) -> None:
        """Let go of everything."""


class Part:
    """Some widgets of the .ui file and what they do with the controller."""

    def __init__(self, ui: Any, controller: Controller) -> None:
        self.ui = ui
        self.controller = controller
        self._heard: list[tuple[Signal, Slot]] = []

    def hear(self, signal: Signal, slot: Slot) -> None:
        """Call `slot` with what `signal` emits, until the part is closed."""
        signal.connect(slot)
        self._heard.append((signal, slot))

    def close(self) -> None:
        """Stop listening."""
        for signal, slot in self._heard:
            signal.disconnect(slot)
        self._heard.clear()


def explain(widget: Any, reason: str, more: str = "") -> None:
    """Disable a widget and let its tooltip say why.

    Without a reason, enable it and give it its own tooltip back, with what there is `more` to say.
    """
    own = widget.property("ownToolTip")
    if own is None:
        own = widget.toolTip
        widget.setProperty("ownToolTip", own)
    widget.enabled = not reason
    widget.toolTip = reason or "\n".join(filter(None, [own, more]))


def otherSegments(controller: Controller) -> list[tuple[str, str]]:
    """Return IDs and names of the segments beside the one being drawn."""
    node = controller.segmentationNode
    if not node:
        return []
    segments = node.GetSegmentation()
    others = [one for one in segments.GetSegmentIDs() if one != controller.segmentId]
    return [(one, segments.GetSegment(one).GetName()) for one in others]


def whyNoRun(controller: Controller) -> str:
    """Return what to do where no slice was propagated yet, nothing if one was."""
    propagated = any(one.origin == PROPAGATED for one in controller.review.slices().values())
    return "" if propagated else _("Propagate first.")
