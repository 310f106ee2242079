"""One segment at work: its prompts, what is known of its slices, and edits by other tools, which are prompts too."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import slicer
from slicer.i18n import tr as _

from medsam2_core.errors import MedSAM2Error, PromptError
from medsam2_core.image.segments import Segment
from medsam2_core.image.slicing import SliceStack
from medsam2_core.run.prompts import MaskPrompt, Prompt, RunObject, make_objects, masks_first, merge_points
from MedSAM2SlicerLib.prompts.placing import PromptPlacer
from MedSAM2SlicerLib.prompts.promptnodes import PromptItem
from MedSAM2SlicerLib.prompts.promptset import PromptSet
from MedSAM2SlicerLib.scene.attributes import restoreRun, runText, slicesText, storedSlices, storedStack, storeSlices
from MedSAM2SlicerLib.scene.cut import Cut
from MedSAM2SlicerLib.scene.layers import Bools, isReadable
from MedSAM2SlicerLib.scene.slicemasks import SliceMasks
from MedSAM2SlicerLib.scene.slicereview import EDITED, LOCKED, PROMPTED, PROPAGATED, SliceReview
from MedSAM2SlicerLib.scene.slicestates import SliceStates
from MedSAM2SlicerLib.work.bases import Base, Bases
from MedSAM2SlicerLib.work.contents import Contents, Known, differing, filled
from MedSAM2SlicerLib.work.shownanswers import ShownAnswers

_COLOR = (1.0, 1.0, 1.0)  # the worker has no use for it
_FEW_SLICES = 12  # a segment painted on no more, and never propagated, is to be propagated from these


class SegmentWork:
    """A segment on the slices of a `stack`, the object `objectId` of the worker's session along that.

    What is known of its slices lies as JSON in the attribute "MedSAM2.Slices.<segment ID>" of the segmentation node,
    with fingerprints of their masks: what differs from these was edited by another tool, whenever that was. What
    others like this one know of the same segment comes from there too.
    """

    def __init__(
        self,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        prompts: PromptSet,
        objectId: int,
        stack: SliceStack,
        masks: SliceMasks,
    ) -> None:
        self.segmentId, self.objectId, self.stack, self.prompts = prompts.segmentId, objectId, stack, prompts
        self.states = SliceStates(stack)
        self.stops: dict[str, str] = {}
        self.sent: RunObject | None = None
        self.masks = masks
        """The slices as they are now, of the volume that is looked at."""
        self._segmentationNode = segmentationNode
        self._prints: dict[int, str] = {}
        self._stored: str | None = None  # as this one has stored it, or found it
        self._bases = Bases()
        self._answers = ShownAnswers()
        self._contents = Contents()
        self._theirs: dict[int, str | None] = {}  # fingerprints of slices that others changed while a run writes
        self._back: dict[int, SliceReview | None] = {}  # what is known of those that undo brought back meanwhile
        self._load()

    @property
    def isSettled(self) -> bool:
        """Whether it keeps to its stack: it has prompts, or something is known of its slices."""
        return bool(self.states) or bool(self.prompts)

    @property
    def sources(self) -> set[str]:
        """The segments that were taken as prompts, of which scenes keep no more than this: they lose nothing to it."""
        return self.prompts.sources | self.states.sources

    @property
    def isKnownToWorker(self) -> bool:
        """Whether the worker's session drew slices of it: prompts there correct what was drawn."""
        return bool(self._answers.slices)

    @property
    def isKeptToRedraw(self) -> bool:
        """Whether the worker's session propagated all its slices, and so has their answers."""
        propagated = [index for index, one in self.states.slices.items() if one.origin == PROPAGATED]
        return self._answers.slices.issuperset(propagated)

    def keepStack(self) -> None:
        """Have the scene know the stack from the first prompt on, whether that draws anything or not."""
        if self._stored is None:
            self._store(self._keepInMind())

    def noticeEdits(self, written: bool | None = None) -> bool:
        """Look for slices that another tool has changed; whether there were any. Undo brings their states back.

        `written`: a tool wrote, so content that was there before does not mean an undo: a run's only new voxel may have
        been erased. False: there was undo or redo alone. None: nobody watched.
        """
        isOther = self._takeStored()
        prints, self._theirs = self.masks.prints(), {}
        self._noteBack()
        if prints == self._prints or not isReadable(self._segmentationNode, self.segmentId):
            return isOther
        if self._contents.of(self._prints) is None:  # a run that is under way has left it so
            self._keepInMind()
        changed = differing(self._prints, prints)
        known = None if written else self._contents.of(prints)
        if known is not None:
            marked, self.states = self.states, SliceStates.fromJson(known.states)
            self.states.takeMarks(marked, but=changed)  # the user may have set them since
            restoreRun(self._segmentationNode, self.segmentId, known.run)
            # The worker has there what was undone, or the same answers if these were only drawn otherwise.
            self._answers.bringBack(changed, known.shown)
        else:
            self._back = self._contents.bySlice(changed, prints) if written is False else {}
            edited = changed - self._back.keys()
            self._noteBack()
            self._bases.forget(edited)
            self.states.noteEdits(edited)
        self._prints = prints
        self._save()
        return True

    def spareEdits(self, written: bool, drawn: Mapping[int, SliceReview], first: int, last: int) -> None:
        """Look for slices that others changed since a run began: it leaves them alone; `noticeEdits` notes them later.

        The run has `drawn` some on its way through slices first <= index < last. Not `written`: these are undone.
        """
        before, prints = filled(self._prints | self._theirs), self.masks.prints()
        changed = differing(before, prints) if isReadable(self._segmentationNode, self.segmentId) else set()
        if self._contents.of(before) is None:  # undo goes back to it, even if what was written changed nothing
            self._contents.keep(before, self._known(self._soFar(drawn, first, last)))
        back = {} if written else self._contents.bySlice(changed, prints)
        self._back |= back
        self._prints = filled(self._prints | {index: prints.get(index) for index in back})
        self._theirs = {index: one for index, one in self._theirs.items() if index not in back}
        self._theirs |= {index: prints.get(index) for index in changed - back.keys()}

    def announce(self, drawn: Mapping[int, SliceReview], first: int, last: int) -> None:
        """Have the scene know, in case it is saved, what a run is on its way through and has `drawn` there."""
        states = self._soFar(drawn, first, last)
        states.running = first, last
        prints = filled(self._prints | self._theirs)
        self._stored = storeSlices(self._segmentationNode, self.segmentId, states.toJson(), prints)

    def keeps(self, index: int) -> bool:
        """Whether a slice is the user's, or was made that since a run began."""
        back = self._back.get(index)
        return index in self._theirs or self.states.keeps(index) or (back is not None and back.isKept)

    def seen(self, drawn: Mapping[int, SliceReview]) -> dict[int, SliceReview]:
        """Return what is to be seen of the slices, while a run has `drawn` some and left alone what others did."""
        edited = [index for index, one in self._theirs.items() if one != self._prints.get(index)]
        hidden = self._back.keys() | {index for index in drawn if self.keeps(index)}
        return self.states.seen({index: one for index, one in drawn.items() if index not in hidden}, edited)

    def _soFar(self, drawn: Mapping[int, SliceReview], first: int, last: int) -> SliceStates:
        left = {index: one for index, one in drawn.items() if index not in self._back}
        return self.states.soFar(left, first, last, self._theirs)

    def startOver(self) -> None:
        """Forget what is known of the slices, all of which are to be drawn again."""
        self.states = SliceStates(self.stack)

    def noteWritten(self, stack: SliceStack, indexes: Collection[int]) -> None:
        """Slices of a stack were written by this program, the segment or over it: no edit, but for what others did."""
        found: Mapping[int, str | None]
        if stack == self.stack:
            self._back = {index: one for index, one in self._back.items() if index not in indexes}
            found = self._prints | {index: self.masks.print(index) for index in indexes}
        else:  # any of these may have been crossed
            found = self.masks.prints()
        self._prints = filled({**found, **{index: self._prints.get(index) for index in self._theirs}})

    def remember(self) -> None:
        """Have the scene know, after this program has written, what that was."""
        self._noteBack()
        self._save()

    @property
    def isEmpty(self) -> bool:
        """Whether the segment marks nothing, by the last look at it."""
        return not self._prints

    @property
    def hasUnknown(self) -> bool:
        """Whether the segment marks slices of which nothing is known, as one that was loaded from a file does."""
        return not self._prints.keys() <= self.states.slices.keys()

    @property
    def isAsRemembered(self) -> bool:
        """Whether the segment shows what it did after one of the last looks at it."""
        return self._contents.of(self.masks.prints()) is not None

    def marks(self, index: int) -> bool:
        """Whether the segment marks anything on a slice, by the last look at it."""
        return index in self._prints

    def notePreview(self, review: SliceReview) -> None:
        """The worker drew a slice from its prompts."""
        self.states.notePreview(review)
        self._answers.note([review.sliceIndex])

    def noteRun(self, reviews: Mapping[int, SliceReview], first: int, last: int) -> None:
        """The worker drew slices first <= index < last."""
        self.states.noteRun(reviews, first, last)
        self._noteDrawn(reviews)

    def noteSteps(self, reviews: Mapping[int, SliceReview]) -> None:
        """The worker drew these slices, and did not come to the end."""
        self.states.noteSteps(reviews)
        self._noteDrawn(reviews)

    def noteBrokenOff(self, reviews: Mapping[int, SliceReview], first: int, last: int) -> None:
        """The worker drew slices on its way through first <= index < last; how far it came is not known."""
        if reviews:
            self.noteSteps(reviews)
            self.states.noteUntold(range(first, last))

    def noteTakenBack(self, reviews: Mapping[int, SliceReview], first: int, last: int) -> None:
        """The worker drew slices on its way through first <= index < last and forgot them again: they are seen, stale.

        A prompt on one of them corrects what is seen, as if another tool had drawn it.
        """
        if reviews:
            self.states.noteSteps(reviews)
            self.states.noteUntold(range(first, last))
            self._answers.hide(index for index, one in reviews.items() if one.origin != PROMPTED)

    def noteCut(self, reviews: Mapping[int, SliceReview], cut: Cut) -> None:
        """Slices were drawn differently from the same answers of the worker."""
        self.states.noteCut({index: one.areaMm2 for index, one in reviews.items()}, cut)

    def noteCleared(self, index: int, base: Base | None) -> None:
        """A slice lost its prompts; with a base it is again as somebody had edited it, or as it was drawn before."""
        if base is None:
            self.states.noteRemoved(index)
        elif base.drawn is None:
            self.states.noteEdits([index])
        else:
            self.states.noteBack(base.drawn)

    def removePrompts(self) -> None:
        """Remove every prompt; what they drew stays, but those are no longer prompted slices."""
        self.prompts.removeAll()
        self.states.sources.clear()
        self._bases = Bases()
        self.states.notePromptsGone(self.states.slices)
        self._save()

    def noteGonePrompts(self, placer: PromptPlacer) -> None:
        """Slices whose prompts were removed since the worker got them are no longer prompted slices."""
        if self.sent is not None:
            with suppress(MedSAM2Error):  # for one that cannot be used, which the next propagation says
                self._noteGone({one.slice_index for one in self.prompts.prompts(placer)})

    def removePrompt(self, item: PromptItem) -> None:
        """Remove a prompt; see `PromptSet.remove`."""
        before = self.prompts.sources
        self.prompts.remove(item)
        self.states.sources -= before - self.prompts.sources

    def takeSegment(self, segmentId: str, sliceIndex: int | None, placer: PromptPlacer) -> dict[int, Bools]:
        """Take what a segment marks as prompts; returns the masks to draw. Raises PromptError if there are none."""
        masks = self._takeMasks(self.prompts.addSegment(segmentId, sliceIndex, placer))
        self.states.sources |= self.prompts.sources
        return masks

    def _takeMasks(self, masks: Mapping[int, Bools]) -> dict[int, Bools]:
        """Note that prompts give the masks of slices; returns those that may be drawn, which locked ones may not.

        Raises PromptError if all are locked.
        """
        free = [index for index in masks if not self.states.locks(index)]
        for index in free or masks:
            self._bases.drawnFrom.pop(index, None)  # taken once more, the same mask counts again
            self.open(index)
            self._bases.drawnFrom[index] = masks[index]
            self.notePreview(SliceReview(index, 1.0, PROMPTED, None, "prompt"))
        return {index: masks[index] for index in free}

    def noteClosedSession(self) -> None:
        """The worker knows nothing of the segment any more."""
        self._answers.forget()
        self.sent = None

    def noteNewSession(self) -> None:
        """The worker starts over and knows nothing of what is drawn; with other settings it would draw differently."""
        self.noteClosedSession()
        self.states.noteAllStale()

    def toggle(self, index: int, mark: str) -> None:
        """Accept or lock a slice, or undo that."""
        self.states.toggle(index, mark)
        self._save()

    def disown(self, index: int) -> None:
        """Let propagations draw a slice again that was edited."""
        if index in self.states.slices:
            self.states.disown(index)
            self._save()

    def takeBase(self, index: int) -> Base | None:
        """Return, and forget, what a slice showed before its prompts: None if that was nothing to correct."""
        return self._bases.take(index)

    def runObject(self, placer: PromptPlacer, opened: int | None = None) -> RunObject:
        """Return the segment as the worker's object: prompts, and the masks of slices that are the user's.

        Prompts on the slice `opened` correct what it shows. Raises PromptError if it is locked, or if the prompts say
        too little.
        """
        given, name = self.prompts.prompts(placer), self.prompts.name
        prompted = {one.slice_index for one in given}
        self._noteGone(prompted)
        if opened in prompted:
            self.open(opened)
        own = {index: self.masks.mask(index) for index in self.states.kept()}
        given = [one for one in given if one.slice_index not in own and not self._bases.hide(one)]
        self._bases.drawnFrom |= {one.slice_index: one.mask for one in given if isinstance(one, MaskPrompt)}
        masks = self._bases.masks(prompted) | own
        fresh = [one for one in given if one.slice_index not in self.states.slices]
        if fresh or not (given or any(mask.any() for mask in masks.values())):
            make_objects({name: fresh}, {name: self.objectId}, {})
        prompts: list[Prompt] = [MaskPrompt(index, masks[index]) for index in sorted(masks)]
        self.sent = RunObject(Segment(name, self.objectId, _COLOR), (*prompts, *merge_points(masks_first(given))))
        return self.sent

    def _noteGone(self, prompted: set[int]) -> None:
        """Only these slices are prompted now."""
        gone = set() if self.sent is None else set(self.sent.slices) - prompted
        if gone:
            self.states.notePromptsGone(gone)
            self._save()

    def open(self, index: int) -> None:
        """Let prompts change a slice, beginning with what it shows where the worker did not draw that itself."""
        review = self.states.slices.get(index)
        if review is not None and review.mark == LOCKED:
            raise PromptError(_("Slice {index} is locked: unlock it (l) to change it.").format(index=index))
        byOthers = index not in self._answers.slices or (review is not None and review.origin == EDITED)
        if byOthers and (mask := self.masks.mask(index)).any():
            self._bases.begin(index, mask, review)
        if review is not None and review.isKept:
            self.states.release(index)

    def _noteDrawn(self, reviews: Mapping[int, SliceReview]) -> None:
        """A run drew slices, but not those that it left alone, whatever becomes of these."""
        self._answers.note(reviews.keys() - self._theirs.keys())
        self.states.noteUntold(self._theirs)

    def _noteBack(self) -> None:
        """Note what is known of slices that undo has brought back, of which the worker has something else."""
        self.states.noteBackAs(self._back)
        self._answers.hide(self._back)
        self._back = {}

    def _load(self) -> None:
        if self._takeStored():
            self.noticeEdits()
            return
        self._prints = self.masks.prints()
        isKnown = self._stored is not None and storedSlices(self._segmentationNode, self.segmentId) is not None
        if not isKnown and len(self._prints) <= _FEW_SLICES:
            self.states.noteEdits(self._prints)
        self._keepInMind()

    def _takeStored(self) -> bool:
        """Take what the scene knows of the slices, unless this one has put it there; whether there was anything."""
        before, self._stored = self._stored, slicesText(self._segmentationNode, self.segmentId)
        stored = None if self._stored == before else storedSlices(self._segmentationNode, self.segmentId)
        if stored is None or stored[0].stack != self.stack:
            return False
        changed = differing(self._prints, stored[1])
        self.states, self._prints = stored
        if self.states.running is not None:
            prints = self.masks.prints()
            drawn = self.states.noteInterrupted(differing(self._prints, prints))
            self._prints = filled(self._prints | {index: prints.get(index) for index in drawn})
        self._bases.forget(changed)
        self._answers.hide(changed)
        self._keepInMind()
        return True

    def _save(self) -> None:
        states = self._keepInMind()
        if not self.states and storedStack(self._segmentationNode, self.segmentId) not in (None, self.stack):
            return  # what is known of other slices outlives a look at these
        self._store(states)

    def _store(self, states: Mapping[str, Any]) -> None:
        self._stored = storeSlices(self._segmentationNode, self.segmentId, states, self._prints)

    def _keepInMind(self) -> dict[str, Any]:
        """In case undo or redo brings this content back. Returns the states in JSON's own types."""
        known = self._known(self.states)
        self._contents.keep(filled(self._prints | self._theirs), known)
        return known.states

    def _known(self, states: SliceStates) -> Known:
        return Known(states.toJson(), runText(self._segmentationNode, self.segmentId), self._answers.shown)
