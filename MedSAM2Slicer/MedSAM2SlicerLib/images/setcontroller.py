"""What a person can do with a set of images: prompt some, segment all, walk through the answers by doubt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import Cancelled, MedSAM2Error, VolumeError
from medsam2_core.run.prompts import RunObject
from medsam2_core.worker.image_sets import SetAnswered, SetStep
from MedSAM2SlicerLib.images.imageprompts import ImagePrompts
from MedSAM2SlicerLib.images.imageset import Images, showOnlyOf
from MedSAM2SlicerLib.images.previews import SetPreviews
from MedSAM2SlicerLib.images.setrun import SetOptions, ask, write
from MedSAM2SlicerLib.images.volumeimages import VolumeImages
from MedSAM2SlicerLib.signal import Signal
from MedSAM2SlicerLib.worker.conversation import Conversation

if TYPE_CHECKING:
    from MedSAM2SlicerLib.worker.client import WorkerClient

_KEY = "images"  # of the set in the worker
_NO_SIZE = (1.0, 1.0)  # mm: what Slicer gives pixels whose file does not say


@dataclass(frozen=True)
class ImageAnswer:
    """What is known of an image: the doubt about the least sure object, 0 to 1, and the area of all of them.

    The area in mm2 is None where pixels have no size, as in photographs, which Slicer gives pixels of 1 mm.
    """

    doubt: float
    pixels: int
    areaMm2: float | None


@dataclass(frozen=True)
class ImageRow:
    """An image in a list; `answer` is None before there is one. One that `isHandDrawn` is prompted by its mask."""

    index: int
    name: str
    isPrompted: bool
    isHandDrawn: bool
    answer: ImageAnswer | None


class SetController:
    """Joins the images of the scene, their prompts and the worker; knows no Qt.

    changed: images, prompts or answers are others. progressed(done, planned): how far a run is. busyChanged(bool).
    failed(text), finished(text): one sentence each.
    """

    def __init__(self, client: WorkerClient) -> None:
        self._client, self._talk = client, Conversation()
        self.changed, self.progressed, self.busyChanged = Signal(), Signal(), Signal()
        self.failed, self.finished = Signal(), Signal()
        self.options = SetOptions()
        self.images: Images = VolumeImages([])
        self.prompts = ImagePrompts(self.images)
        self._previews = SetPreviews(client, self.images, self.prompts, lambda: self.busy, self.failed.emit)
        self._objects: list[RunObject] = []
        self._answers: dict[int, ImageAnswer] = {}
        self._written: dict[int, bool] = {}  # images of the latest run, and whether they have what a person drew
        self._unseen: Iterator[int] = iter(())

    @property
    def busy(self) -> bool:
        """Whether the images are being segmented."""
        return self._talk.waits

    def setImages(self, images: Images) -> None:
        """Work on other images; a run on those before ends, and what is known of images that both lists have stays."""
        known = {self.images.key(index): answer for index, answer in self._answers.items()}
        keys = [images.key(index) for index in range(len(images.names))]
        wasBusy = self.busy
        self._talk.leave()
        self.images, self.prompts = images, ImagePrompts(images)
        self._answers = {index: known[key] for index, key in enumerate(keys) if key in known}
        self._unseen = iter(range(len(keys)))
        self._previews.use(self.images, self.prompts)
        if wasBusy:
            self.busyChanged.emit(False)
        self.changed.emit()

    def show(self, index: int) -> None:
        """Bring an image into view, with its prompts and masks."""
        try:
            self.images.show(index)
        except MedSAM2Error as error:
            self.failed.emit(str(error))
        self.attend()

    def attend(self) -> None:
        """Let the prompts and masks of the image in view be seen, and those of no other: images lie in one plane."""
        self.prompts.showOnly(self.images.shown)
        showOnlyOf(self.images.inView.volumeId)

    def look(self, index: int) -> None:
        """Have the worker see an image ahead of its first prompt, if it is at rest."""
        with suppress(VolumeError):  # the prompt says so
            self._previews.look(index, self.options)

    def preview(self, index: int, name: str) -> None:
        """Draw at once what an object's prompts in an image say; during a run it waits for the end of that."""
        self._previews.draw(index, name, self.options)

    def clear(self, index: int, name: str) -> None:
        """Take back all that a person said of an object in an image; `preview` draws what is left."""
        self.prompts.clear(index, name)
        self._previews.disown(index, name)

    def setAbsent(self, index: int, name: str, isAbsent: bool) -> None:
        """Say that an object is not in an image, in place of all else there; or no longer. `preview` draws that."""
        self.prompts.setAbsent(index, name, isAbsent)
        if isAbsent:
            self._previews.disown(index, name)

    def noteRemoved(self, node: slicer.vtkMRMLNode) -> None:
        """A node is about to leave the scene: where it is a prompt, `goOn` is to draw what is left."""
        place = self.prompts.placeOf(node)
        if place is not None:
            self._previews.noteGone(*place, self.options)

    def goOn(self) -> None:
        """Draw what was put off."""
        self._previews.goOn()

    def rows(self) -> list[ImageRow]:
        """Return all images, the most doubtful answers first, those without an answer behind, in their order."""
        prompted, drawn, names = self.prompts.prompted(), self.prompts.handDrawn(), self.images.names
        order = [*self._byDoubt(), *(index for index in range(len(names)) if index not in self._answers)]
        answers = self._answers
        return [ImageRow(one, names[one], one in prompted, one in drawn, answers.get(one)) for one in order]

    def nextInDoubt(self) -> int | None:
        """Return the image to look at next: after the one in view that with the most doubt left, else the worst."""
        order = self._byDoubt()
        shown = self.images.shown
        if shown in order:
            return order[(order.index(shown) + 1) % len(order)]
        return order[0] if order else None

    def whyNot(self) -> str:
        """Return why the images cannot be segmented, nothing if they can."""
        if not self.images.names:
            return _("Choose images first.")
        return "" if self.prompts.prompted() else _("Add a point or a box to one of the images first.")

    def run(self) -> None:
        """Segment all images from the prompts there are; masks appear as they come."""
        if self.busy:
            return
        self._written.clear()
        current = self._talk.current
        slots = current(self._onStep, last=False), current(self._onDone), current(self._onError)
        try:
            self._objects = self.prompts.objects()
            self._previews.leave()
            self._talk.ask(lambda: ask(self._client, _KEY, self.images, self._objects, self.options, *slots))
        except MedSAM2Error as error:
            self.failed.emit(str(error))
            return
        self.busyChanged.emit(True)

    def stop(self) -> None:
        """End a run after the image at hand; what is done stays."""
        self._talk.cancel(keep=True)

    def tick(self) -> None:
        """Watch the worker's time-outs, and look at an image ahead of the run; from a timer."""
        self._client.tick()
        index = next(self._unseen, None)
        if index is not None:
            with suppress(VolumeError):  # the run says so
                self.images.seen(index)

    def close(self) -> None:
        """Have the worker forget the images."""
        self._talk.leave()
        self._previews.close()
        self._client.closeImages(_KEY)

    def _byDoubt(self) -> list[int]:
        """The images that have an answer, the most doubtful first."""
        return sorted(self._answers, key=lambda index: (-self._answers[index].doubt, index))

    def _onStep(self, step: SetStep) -> None:
        index = step.image_index
        if index is None:
            self.progressed.emit(step.done, step.planned)
            return
        try:
            write(self.images, self._objects, index, step.answers)
            names = {item.segment.label: item.segment.name for item in self._objects}
            found = {names[one.object_id]: one.mask for one in step.answers}
            drawn = [name for _index, name in self.images.masks.handDrawn(index) if name in found]
            self._written[index] = bool(drawn)
            pixels = sum(int(self.images.masks.mask(index, name).sum()) for name in drawn)
            found = {name: mask for name, mask in found.items() if name not in drawn}
            pixels += sum(int(mask.crop.sum()) for mask in found.values())
            self._previews.noteRun(index, found)
            self._answers[index] = ImageAnswer(step.doubt, pixels, self._areaMm2(index, pixels))
        except MedSAM2Error as error:
            self._talk.leave()
            self._onError(error)

    def _areaMm2(self, index: int, pixels: int) -> float | None:
        spacing = self.images.seen(index).spacing
        return None if spacing == _NO_SIZE else pixels * math.prod(spacing)

    def _onDone(self, result: SetAnswered) -> None:
        self._tellEnd()
        text = _("Stopped. Images segmented: {count}.") if result.cancelled else _("Images segmented: {count}.")
        kept = sum(self._written.values())
        said = [text.format(count=len(self._written))]
        if kept:
            said.append(_("Drawn by hand and kept: {count}.").format(count=kept))
        self.finished.emit(" ".join(said))
        self.changed.emit()

    def _onError(self, error: MedSAM2Error) -> None:
        self._tellEnd()
        if not isinstance(error, Cancelled):
            self.failed.emit(str(error))
        self.changed.emit()

    def _tellEnd(self) -> None:
        self.busyChanged.emit(False)
        self._previews.goOn()
