"""The tab Images: a set of images, prompted on some, segmented all at once, and walked through by doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.images.setcontroller import SetController
from MedSAM2SlicerLib.scene.scenewatch import SceneWatch
from MedSAM2SlicerLib.ui import text, views
from MedSAM2SlicerLib.ui.icons import showIcons
from MedSAM2SlicerLib.ui.imagelist import ImageList
from MedSAM2SlicerLib.ui.later import Later
from MedSAM2SlicerLib.ui.part import explain
from MedSAM2SlicerLib.ui.placing import Placer
from MedSAM2SlicerLib.ui.shortcuts import Shortcuts

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.services import Services

_TICK_MILLISECONDS = 50
_REFRESH_MILLISECONDS = 200  # after nodes came or went, of which there may be hundreds
_OBJECT = "object"
_WARMING = _("The model is getting ready…")
_ICON_NAMES = {
    "includeButton": "Include",
    "excludeButton": "Exclude",
    "boxButton": "Box",
    "runButton": "Propagate",
    "stopButton": "Stop",
    "nextButton": "NextDoubtful",
}
_ORDERS = ("free", "arrival")  # in the order of the combo box


class ImagesTab:
    """Joins the widgets of Images.ui to a `SetController`. `chosenModel` returns the name of the model to use."""

    def __init__(self, uiFile: str, services: Services, chosenModel: Callable[[], str]) -> None:
        self._services, self._chosenModel = services, chosenModel
        self.widget = slicer.util.loadUI(uiFile)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.ui = slicer.util.childWidgetVariables(self.widget)
        showIcons(self.ui, _ICON_NAMES)
        self.controller = SetController(services.client())
        self.list = ImageList(self.ui, self.controller)
        self.placer = Placer(self._onPlaced, self.update)
        self.shortcuts = Shortcuts(self.widget, self.actions())
        self._message, self._isInFront = "", False
        self._looksAhead = False  # a worker that asks a cluster for a GPU is started by a prompt, not before
        self._isWarming = False
        self._inViewBefore: object = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_TICK_MILLISECONDS)
        self._timer.connect("timeout()", guarded(self.tick))
        self._refreshing = Later(self._refresh, _REFRESH_MILLISECONDS)
        self._observed = VTKObservationMixin()
        self._sceneWatch = SceneWatch(self._onRemoved, self.list.clear)
        self._join()

    def actions(self) -> dict[str, Callable[[], object]]:
        """Return what each key does."""
        return {
            "a": lambda: self.place("include"),
            "x": lambda: self.place("exclude"),
            "d": lambda: self.place("box"),
            "p": self.run,
            "n": self.showNext,
            "Esc": self.escape,
        }

    def enter(self) -> None:
        """Come to the front."""
        self._isInFront = True
        self.list.refresh()
        self.shortcuts.install()
        self._timer.start()
        self._looksAhead = not self._services.missingText() and self._services.warm(self._chosenModel())
        self._attend()
        self.update()

    def exit(self) -> None:
        """Be hidden; a run goes on, and with it the timer."""
        self._isInFront = False
        self.placer.stop()
        self.controller.prompts.showOnly(None)
        self.shortcuts.remove()
        if not self.controller.busy:
            self._timer.stop()

    def close(self) -> None:
        """Release everything but the widget."""
        self._observed.removeObservers()
        self._sceneWatch.stop()
        self._refreshing.cancel()
        self._timer.stop()
        self._timer.deleteLater()
        self.shortcuts.remove()
        self.placer.close()
        self.controller.close()

    def tick(self) -> None:
        """Deliver what the worker sent, and follow what others bring into view (20 times a second)."""
        self.controller.tick()
        if self._isWarming != self._services.isWarming:
            self._isWarming = not self._isWarming
            self.update()
        self.list.follow()
        if self._isInFront and self._whatIsInView() != self._inViewBefore:
            self.placer.stop()  # it would go on in the image of before
            self._attend()
            self.update()

    def place(self, kind: str) -> None:
        """Start placing prompts of a kind in the image in view, or end it."""
        isEnding = kind == self.placer.kind
        self.placer.stop()
        index = None if isEnding or not self.ui.includeButton.enabled else self._imageToPrompt()
        if index is not None:
            self.placer.start(kind, self.controller.prompts.nodeToPlace(index, self._object, kind))
        self.update()

    def run(self) -> None:
        """Segment all images, unless something is missing (the button says what)."""
        if self.ui.runButton.enabled:
            self.placer.stop()
            self._choose()
            self._message = ""
            self.controller.run()

    def showNext(self) -> None:
        """Show the image with the most doubt left."""
        index = self.controller.nextInDoubt()
        if index is not None:
            self.show(index)

    def show(self, index: int) -> None:
        """Show an image, fitted into the slice views."""
        self.placer.stop()
        self.controller.show(index)
        self._attend()
        slicer.util.resetSliceViews()
        self.shortcuts.claim()
        self.update()

    def escape(self) -> None:
        """Stop what is running, else leave place mode."""
        if self.controller.busy:
            self.controller.stop()
        else:
            self.placer.stop()

    def update(self) -> None:
        """Enable what can be used, say of the rest why not, and show what is known."""
        ui, controller = self.ui, self.controller
        missing = self._services.missingText() and _("Set up MedSAM-2 first, in the tab Volume.")
        noImage = "" if controller.images.names else _("Choose images first.")
        whyNot = missing or controller.whyNot()
        busy = _("The images are being segmented.") if controller.busy else ""
        shown = controller.images.shown
        for button in (ui.includeButton, ui.excludeButton, ui.boxButton):
            explain(button, busy or noImage)
        for button in (ui.absentButton, ui.clearButton):
            explain(button, busy or noImage or ("" if shown is not None else _("Click on an image in the list first.")))
        explain(ui.runButton, busy or whyNot)
        explain(ui.sequenceSelector, busy)
        explain(ui.stopButton, "" if busy else _("Nothing is running."))
        explain(ui.nextButton, "" if controller.nextInDoubt() is not None else _("Segment the images first."))
        for kind, button in (("include", ui.includeButton), ("exclude", ui.excludeButton), ("box", ui.boxButton)):
            button.checked = kind == self.placer.kind
        ui.absentButton.checked = shown is not None and controller.prompts.isAbsent(shown, self._object)
        ui.progressBar.visible = controller.busy
        self.list.show()
        toDo = whyNot and (missing or text.placingText(self.placer.kind) or whyNot)
        self._say(self._message or toDo or (_WARMING if self._isWarming else ""))

    @property
    def _object(self) -> str:
        return str(self.ui.objectEdit.text).strip() or _OBJECT

    def _join(self) -> None:
        ui, controller = self.ui, self.controller
        for kind, button in (("include", ui.includeButton), ("exclude", ui.excludeButton), ("box", ui.boxButton)):
            button.connect("clicked()", guarded(partial(self.place, kind)))
        ui.absentButton.connect("clicked()", guarded(self._onAbsent))
        ui.clearButton.connect("clicked()", guarded(self._onClear))
        ui.runButton.connect("clicked()", guarded(self.run))
        ui.stopButton.connect("clicked()", guarded(controller.stop))
        ui.nextButton.connect("clicked()", guarded(self.showNext))
        ui.objectEdit.connect("editingFinished()", guarded(self._onObject))
        controller.changed.connect(self.update)
        controller.busyChanged.connect(self._onBusy)
        controller.progressed.connect(self._onProgress)
        controller.failed.connect(self._onFailed)
        controller.finished.connect(self._tell)
        self.list.failed.connect(lambda reason: self._tell(f"⚠ {reason}"))
        self.list.chosen.connect(self.show)
        self.list.renewed.connect(lambda: self._tell(""))
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent):
            self._observed.addObserver(scene, event, self._onScene)

    def _imageToPrompt(self) -> int | None:
        """The image in view; where there is none, the one to begin with is shown."""
        if self.controller.images.shown is None:
            self.show(self.controller.images.first)
        return self._imageInView()

    def _imageInView(self) -> int | None:
        if self._whatIsInView() != self._inViewBefore:  # brought there since the last tick
            self._attend()
        return self.controller.images.shown

    def _whatIsInView(self) -> object:
        """What differs when another image is in view, or the one there enters or leaves the set."""
        images = self.controller.images
        return images.inView.volumeId, None if images.shown is None else images.key(images.shown)

    def _attend(self) -> None:
        """Show and hear the prompts of the image in view, and have the worker see it ahead of the next one."""
        shown, self._inViewBefore = self.controller.images.shown, self._whatIsInView()
        self.controller.attend()
        self.placer.watch(self.controller.prompts.nodeIds())
        if self._looksAhead and shown is not None:
            self._choose()
            self.controller.look(shown)

    def _choose(self) -> None:
        """Tell the controller what is chosen."""
        order = _ORDERS[self.ui.orderComboBox.currentIndex]
        self.controller.options = replace(self.controller.options, model=self._chosenModel(), order=order)

    def _preview(self, index: int, name: str) -> None:
        """Have an object drawn in an image as its prompts are now, if that can be done."""
        self._message = ""
        if not self._services.missingText():
            self._choose()
            self.controller.preview(index, name)
        self.update()

    def _onPlaced(self, node: Any, pointId: str, view: Any, placed: str) -> None:
        if placed and view and not self._isOfView(node, view):
            node = self._toView(node, pointId, view)
        self.shortcuts.claim()
        place = None if node is None else self.controller.prompts.placeOf(node)
        if place is None:
            return
        if placed == "box":
            if view:
                views.flatten(node, view, self.controller.images.sliced(place[0]).node)
            self.controller.prompts.keepBox(node)
        self._preview(*place)

    def _isOfView(self, node: Any, view: Any) -> bool:
        """Whether a markup belongs to the image that a view shows."""
        place = self.controller.prompts.placeOf(node)
        return place is not None and place[0] == self.controller.images.shownIn(view)

    def _toView(self, node: Any, pointId: str, view: Any) -> Any:
        """Have what was placed belong to the image that the view shows, not to that which was in view before.

        Returns its markup, None where the view shows no image: then it is given up.
        """
        controller, kind = self.controller, self.placer.kind
        index = controller.images.shownIn(view)
        self.placer.stop()
        self.placer.watch(())  # moving it is no edit
        markup = controller.prompts.move(node, pointId, index)
        if index is not None:
            controller.images.inView.attend(view)
        self._attend()
        if kind:
            self.placer.start(kind, markup)
        if index is None:
            self._tell(_("⚠ That view shows none of these images: click in one that does."))
        return None if index is None else markup

    def _onAbsent(self) -> None:
        isAbsent = bool(self.ui.absentButton.checked)  # before anything shows the state as it is
        self._change(partial(self.controller.setAbsent, isAbsent=isAbsent))

    def _onClear(self) -> None:
        self._change(self.controller.clear)

    def _change(self, change: Callable[[int, str], object]) -> None:
        """Change the object's prompts in the image in view, if there is one, and draw what is left of them."""
        self.placer.stop()
        index = self._imageInView()
        if index is None:
            self.update()
            return
        change(index, self._object)
        self._preview(index, self._object)

    def _onObject(self) -> None:
        self.placer.stop()  # what comes next is of another object
        self.update()

    def _onProgress(self, done: int, planned: int) -> None:
        self.ui.progressBar.setRange(0, planned)
        self.ui.progressBar.value = done
        self._say(text.looksText(done, planned))

    def _onBusy(self, busy: bool) -> None:
        if busy:
            self.ui.progressBar.setRange(0, 0)  # it moves, until it gets to know how far it is
        elif not self._isInFront:
            self._timer.stop()
        self.update()

    def _onFailed(self, reason: str) -> None:
        self._tell(f"⚠ {reason}")
        self._refreshing.soon()  # perhaps because frames were removed, of which the scene does not tell

    def _tell(self, message: str) -> None:
        self._message = message
        self.update()

    def _say(self, message: str) -> None:
        if self.ui.messageLabel.text != message:
            self.ui.messageLabel.text = message

    @guarded
    def _onScene(self, _caller: Any, _event: Any) -> None:
        self._refreshing.soon()

    def _onRemoved(self, node: Any) -> None:
        if not self._services.missingText():
            self._choose()
            self.controller.noteRemoved(node)

    def _refresh(self) -> None:
        self.list.refresh()
        self.controller.goOn()
        self.update()
