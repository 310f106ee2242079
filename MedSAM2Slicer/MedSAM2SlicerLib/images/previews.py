"""What the prompts of an image say there, drawn as soon as they are placed and ahead of a run through all images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from slicer.i18n import tr as _

from medsam2_core.errors import Cancelled, MedSAM2Error
from medsam2_core.image.geometry import Geometry
from medsam2_core.image.segments import Segment
from medsam2_core.image.window import Window
from medsam2_core.run.prompts import MaskPrompt, RunObject
from medsam2_core.run.settings import usual
from medsam2_core.worker.image_sets import SetImage
from medsam2_core.worker.masks import PackedMask
from medsam2_core.worker.results import ObjectAnswer
from MedSAM2SlicerLib.images.imageprompts import ImagePrompts
from MedSAM2SlicerLib.images.imageset import Images
from MedSAM2SlicerLib.images.setrun import SetOptions, shows
from MedSAM2SlicerLib.scene.layers import Bools
from MedSAM2SlicerLib.worker.calls import Call
from MedSAM2SlicerLib.worker.client import WorkerClient
from MedSAM2SlicerLib.worker.conversation import Conversation

_KEY = "images/preview"  # of the image and its session in the worker
_UPRIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))  # as a set has its images: nothing is turned
_NOTHING = PackedMask(None, b"")


@dataclass(frozen=True)
class _Alone:
    """An image as a volume of one slice, see `requests.Volume`."""

    image: SetImage

    @property
    def gray(self) -> npt.NDArray[np.uint8]:
        return self.image.pixels[None]

    @property
    def geometry(self) -> Geometry:
        y, x = self.image.spacing
        return Geometry((1, *self.image.shape), (x, y, 1.0), (0.0, 0.0, 0.0), _UPRIGHT)

    @property
    def window(self) -> Window:
        return Window(0.0, 255.0, "image")


class SetPreviews:
    """Draws objects in the images that they are prompted in, one after the other.

    The image at hand is a session of its own in the worker, so that nothing but the prompts is sent once it is open.
    Nothing is asked while `isHeld` says so; `failed` is called with one sentence.
    """

    def __init__(
        self,
        client: WorkerClient,
        images: Images,
        prompts: ImagePrompts,
        isHeld: Callable[[], bool],
        failed: Callable[[str], None],
    ) -> None:
        self._client, self._images, self._prompts = client, images, prompts
        self._isHeld, self._failed = isHeld, failed
        self._talk = Conversation()
        self._look: Call | None = None
        self._later: dict[tuple[int, str], SetOptions] = {}  # images and objects, in the order they were asked for
        self._found: dict[str, Mapping[str, PackedMask]] = {}  # what the latest run found, by image and object
        self._drawn: set[tuple[str, str]] = set()  # what is a preview since
        self._bases: dict[tuple[str, str], tuple[Bools, Bools]] = {}  # what a person drew, and what prompts made of it
        self._asked: tuple[int, RunObject, SetOptions] | None = None  # last, if nothing else was drawn since

    def use(self, images: Images, prompts: ImagePrompts) -> None:
        """Go on with another list of images.

        Of those that it shares with the one before it is known what was drawn, and what was asked for is drawn.
        """
        waiting = [(self._images.key(index), name, options) for (index, name), options in self._waiting().items()]
        keys = {images.key(index): index for index in range(len(images.names))}
        self.leave()
        self._images, self._prompts = images, prompts
        self._later = {(keys[key], name): options for key, name, options in waiting if key in keys}
        self._found = {key: found for key, found in self._found.items() if key in keys}
        self._drawn = {(key, name) for key, name in self._drawn if key in keys}
        self._bases = {(key, name): base for (key, name), base in self._bases.items() if key in keys}
        self.goOn()

    def look(self, index: int, options: SetOptions) -> None:
        """Have the worker open an image and see it ahead of its first prompt, if it is at rest."""
        if self._look is not None:
            self._look.cancel()  # somebody walks on through the images
        if not (self._talk.waits or self._isHeld()):
            self._open(index, options)
            self._look = self._client.look(_KEY, 0)

    def draw(self, index: int, name: str, options: SetOptions) -> None:
        """Draw an object as its prompts in an image have it; without any, as the latest run found it."""
        self._later[index, name] = options
        self.goOn()

    def noteGone(self, index: int, name: str, options: SetOptions) -> None:
        """Of an object's prompts in an image some are going: `goOn` draws the others, unless a person drew since."""
        base = self._base(index, name)
        if base is None or not np.array_equal(base, self._images.masks.mask(index, name)):
            self._later[index, name] = options

    def goOn(self) -> None:
        """Draw what waits for its turn."""
        while self._later and not (self._talk.waits or self._isHeld()):
            index, name = next(iter(self._later))
            options = self._later.pop((index, name))
            try:
                self._begin(index, name, options)
            except MedSAM2Error as error:
                self._failed(str(error))

    def noteRun(self, index: int, found: Mapping[str, PackedMask]) -> None:
        """Note what a run wrote into an image, by the objects' names."""
        key = self._images.key(index)
        self._found[key] = {**self._found.get(key, {}), **found}
        self._drawn -= {(key, name) for name in found}
        self._asked = None

    def disown(self, index: int, name: str) -> None:
        """Have what a person drew be a preview, which goes with its prompts."""
        if (index, name) in self._images.masks.handDrawn(index):
            self._images.masks.disown(index, name)
            self._drawn.add((self._images.key(index), name))

    def leave(self) -> None:
        """Draw nothing more that was asked for."""
        self._later.clear()
        self._asked = None
        self._talk.leave()

    def close(self) -> None:
        """Have the worker forget the image."""
        self.leave()
        self._client.closeVolume(_KEY, {_KEY})

    def _waiting(self) -> dict[tuple[int, str], SetOptions]:
        """What was asked for and is not drawn yet."""
        if self._asked is None or not self._talk.waits:
            return self._later
        index, item, options = self._asked
        return {(index, item.segment.name): options, **self._later}

    def _begin(self, index: int, name: str, options: SetOptions) -> None:
        item, base = self._prompts.promptedIn(index, name), self._base(index, name)
        if base is not None and not self._prompts.isAbsent(index, name):
            if not item.prompts:
                self._write(index, item.segment, base, base)
                return
            item = replace(item, prompts=(MaskPrompt(0, base), *item.prompts))
        if any(map(shows, item.prompts)):
            self._ask(index, item, base, options)
        else:
            self._asked = None
            self._drawWithout(index, item.segment)

    def _drawWithout(self, index: int, segment: Segment) -> None:
        """Draw what is known of an object without the worker: that it is absent, or what the latest run found."""
        name, key = segment.name, self._images.key(index)
        found = self._found.get(key, {})
        if self._prompts.isAbsent(index, name):
            if found or (key, name) in self._drawn:
                self._write(index, segment, self._full(index, _NOTHING))
        elif (key, name) in self._drawn:
            self._write(index, segment, self._full(index, found.get(name, _NOTHING)))
            self._drawn.remove((key, name))

    def _base(self, index: int, name: str) -> Bools | None:
        """What prompts correct: the mask that a person drew, as it was before them."""
        if (index, name) not in self._images.masks.handDrawn(index):
            return None
        now = self._images.masks.mask(index, name)
        base, made = self._bases.get((self._images.key(index), name), (now, now))
        return base if np.array_equal(made, now) else now

    def _ask(self, index: int, item: RunObject, base: Bools | None, options: SetOptions) -> None:
        """Ask for an object, unless nothing has changed: of a box that is placed Slicer tells twice."""
        wish = index, item, options
        if wish == self._asked:
            return
        self._asked = wish
        onDone = self._talk.current(partial(self._onAnswer, index, item.segment, base))
        onError = self._talk.current(self._onError)
        self._open(index, options)
        self._talk.ask(lambda: self._client.predict(_KEY, 0, [item], onDone, onError))

    def _open(self, index: int, options: SetOptions) -> None:
        view = "whole" if options.order == "arrival" else "auto"  # as `ImageSetSession` has it
        self._client.setModel(options.model)
        self._client.setVolume(_KEY, _Alone(self._images.seen(index)))
        self._client.openSession(_KEY, _KEY, 0, {**usual("session"), "field_of_view": view})

    def _onAnswer(self, index: int, segment: Segment, base: Bools | None, answers: tuple[ObjectAnswer, ...]) -> None:
        (answer,) = answers
        try:
            if base is not None or (index, segment.name) not in self._images.masks.handDrawn(index):
                self._write(index, segment, self._full(index, answer.mask), base)
        except MedSAM2Error as error:
            self._failed(str(error))
        if answer.mask.box is None:
            self._failed(_("Nothing found here: try a box, or a point in the middle of the object."))
        self.goOn()

    def _onError(self, error: MedSAM2Error) -> None:
        self._asked = None
        if not isinstance(error, Cancelled):
            self._failed(str(error))
        self.goOn()

    def _full(self, index: int, mask: PackedMask) -> Bools:
        return mask.full(self._images.seen(index).shape)

    def _write(self, index: int, segment: Segment, mask: Bools, base: Bools | None = None) -> None:
        """Write what was made of a `base` that a person drew, which so goes on to be a person's; or a mask of ours."""
        place = self._images.key(index), segment.name
        self._images.write(index, {segment: mask}, isHandDrawn=base is not None)
        if base is None:
            self._drawn.add(place)
        else:
            self._bases[place] = base, self._images.masks.mask(index, segment.name)
