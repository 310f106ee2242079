"""What a controller tells its faces."""

from __future__ import annotations

from contextlib import AbstractContextManager

from MedSAM2SlicerLib.signal import Signal, tellingBy


class ControllerSignals:
    """The signals of a controller and of its parts; those with a value name it behind."""

    def __init__(self) -> None:
        self.segmentChanged, self.promptsChanged, self.reviewed = Signal(), Signal(), Signal()
        self.previewed, self.sliceDrawn = Signal(), Signal()  # slice index
        self.starting = Signal()  # a propagation is about to
        self.undone = Signal()  # what a propagation had drawn, in the middle of it
        self.progressed, self.busyChanged = Signal(), Signal()  # Progress; bool
        self.finished, self.failed, self.noticed = Signal(), Signal(), Signal()  # one sentence

    def tellAll(self) -> None:
        """Tell that prompts and slices may have changed."""
        self.reviewed.emit()
        self.promptsChanged.emit()

    def notice(self, sentence: str) -> None:
        """Tell something unasked, if it is anything."""
        if sentence:
            self.noticed.emit(sentence)

    def telling(self) -> AbstractContextManager[None]:
        """Turn an error on purpose into the signal `failed`."""
        return tellingBy(self.failed)
