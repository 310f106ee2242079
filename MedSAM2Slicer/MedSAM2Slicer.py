"""MedSAM-2 in 3D Slicer: the module, its parameters, its face, what scripts call, and its self test."""

from __future__ import annotations

import unittest
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
import slicer.util
from slicer import (
    vtkMRMLMarkupsLineNode,
    vtkMRMLMarkupsROINode,
    vtkMRMLScalarVolumeNode,
    vtkMRMLSegmentationNode,
    vtkMRMLSequenceBrowserNode,
    vtkMRMLTableNode,
)
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from MedSAM2SlicerLib.faults import guarded
from MedSAM2SlicerLib.ui.choices import Choices

if TYPE_CHECKING:
    from MedSAM2SlicerLib.ui.services import Services
    from MedSAM2SlicerLib.ui.tabs import Tab
    from MedSAM2SlicerLib.worker.client import WorkerClient

_HERE = Path(__file__).resolve().parent
_HOMEPAGE = "https://github.com/MedSAM2Slicer/SlicerMedSAM2"


class MedSAM2Slicer(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "MedSAM2Slicer"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "Markups", "Volumes"]
        self.parent.contributors = ["MedSAM2Slicer contributors"]
        self.parent.helpText = _(
            "Segments a volume from a click or a box on one slice: MedSAM-2 treats the slices as a video and carries "
            "the object from slice to slice. Choose a volume, press Include or Box, click on the object, press "
            'Propagate. Not for clinical use. <a href="{url}">Documentation</a>.'
        ).format(url=_HOMEPAGE)
        self.parent.acknowledgementText = _(
            "The method is MedSAM-2 (Oxford): J. Zhu, A. Hamdi, Y. Qi, Y. Jin and J. Wu, Medical SAM 2: Segment "
            "medical images as video via Segment Anything Model 2, arXiv 2408.00874. MedSAM2 (Toronto) by J. Ma, "
            "B. Wang and others is a separate work; its weights are one of the models to choose from. Both build on "
            "SAM 2 by Meta."
        )
        slicer.app.connect("startupCompleted()", guarded(registerSampleData))
        slicer.app.connect("startupCompleted()", guarded(registerEffect))


def registerSampleData() -> None:
    """Add the demo CT to the Sample Data module."""
    from MedSAM2SlicerLib import sampledata

    sampledata.registerSampleData()


def registerEffect() -> None:
    """Add the effect MedSAM-2 to Segment Editor."""
    from MedSAM2SlicerLib import effectregistration

    effectregistration.register()


@parameterNodeWrapper
class MedSAM2SlicerParameterNode:
    """What the user chose; saved with the scene. Beside the nodes these are the fields of `Choices`."""

    volume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    segmentId: str = ""
    model: str = Choices.model
    axis: str = Choices.axis
    window: str = Choices.window
    first: int = Choices.first
    last: int = Choices.last
    direction: str = Choices.direction
    directions: str = Choices.directions
    memory: str = Choices.memory
    bankSize: int = Choices.bankSize
    absentSlices: int = Choices.absentSlices
    minAreaMm2: float = Choices.minAreaMm2
    maxAreaChange: int = Choices.maxAreaChange
    maxDistanceMm: float = Choices.maxDistanceMm
    inside: str = Choices.inside
    threshold: float = Choices.threshold
    smoothingMm: float = Choices.smoothingMm
    largest: str = Choices.largest
    fillHoles: str = Choices.fillHoles
    rangeOf: str = Choices.rangeOf

    if TYPE_CHECKING:  # what the decorator adds
        parameterNode: Any

        def __init__(self, parameterNode: Any) -> None: ...


class MedSAM2SlicerWidget(ScriptedLoadableModuleWidget):
    """Holds the tabs; all else is in `MedSAM2SlicerLib.ui`."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        self.tabs: Any = None

    def setup(self) -> None:
        """Build the tabs (called by Slicer when the module is opened for the first time, or reloaded)."""
        from MedSAM2SlicerLib.ui.services import Services

        ScriptedLoadableModuleWidget.setup(self)
        self.logic = MedSAM2SlicerLogic()
        self.useServices(Services(_HERE))
        if self.parent.isEntered:  # reloaded, of which Slicer tells no more than this
            self.enter()

    def useServices(self, services: Services) -> None:
        """Build the tabs on these services. Self tests do so again, with services of their own."""
        from MedSAM2SlicerLib.ui.tabs import Tabs

        self.cleanup()
        self._services = services
        makers = {_("Volume"): self._makeVolumeTab, _("Images"): self._makeImagesTab, _("Cohort"): self._makeCohortTab}
        self.tabs = Tabs(makers)
        self.layout.addWidget(self.tabs.widget)

    def cleanup(self) -> None:
        """Release everything (called by Slicer when it closes, and before a reload)."""
        if self.tabs:
            self.tabs.close()
            self.tabs = None
            self._services.close()

    @guarded
    def enter(self) -> None:
        """Start being used (called by Slicer whenever the module is opened)."""
        self.tabs.enter()

    @guarded
    def exit(self) -> None:
        """Stop being used (called by Slicer when another module is opened, also after `cleanup`)."""
        if self.tabs:
            self.tabs.exit()

    def _makeVolumeTab(self) -> Tab:
        from MedSAM2SlicerLib.ui.volumetab import VolumeTab

        uiFile = self.resourcePath("UI/MedSAM2Slicer.ui")
        return VolumeTab(uiFile, self._services, self.logic.getParameterNode)

    def _makeCohortTab(self) -> Tab:
        from MedSAM2SlicerLib.ui.cohorttab import CohortTab

        def showVolume() -> None:
            self.tabs.bring(_("Volume"))

        return CohortTab(self.resourcePath("UI/Cohort.ui"), self.tabs.widget, self.tabs.tab(_("Volume")), showVolume)

    def _makeImagesTab(self) -> Tab:
        from MedSAM2SlicerLib.ui.imagestab import ImagesTab

        uiFile = self.resourcePath("UI/Images.ui")
        return ImagesTab(uiFile, self._services, lambda: str(self.logic.getParameterNode().model))


class MedSAM2SlicerLogic(ScriptedLoadableModuleLogic):
    """What scripts and the Python console use; needs no window."""

    def __init__(self) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        self._client: WorkerClient | None = None

    def getParameterNode(self) -> MedSAM2SlicerParameterNode:
        """Return the scene's parameter node, typed."""
        return MedSAM2SlicerParameterNode(super().getParameterNode())

    def process(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode | None = None,
        segmentName: str | None = None,
        points: Sequence[Sequence[float]] | None = None,
        exclude: Sequence[Sequence[float]] | None = None,
        scribbles: Sequence[Sequence[Sequence[float]]] | None = None,
        excludeScribbles: Sequence[Sequence[Sequence[float]]] | None = None,
        box: Sequence[Sequence[float]] | None = None,
        roiNode: vtkMRMLMarkupsROINode | None = None,
        lineNode: vtkMRMLMarkupsLineNode | None = None,
        maskSegment: str | None = None,
        axis: int | str | None = None,
        window: str | None = None,
        model: str | None = None,
        range: tuple[int, int] | None = None,  # noqa: A002 (the word a reader of scripts expects)
        memory: str | None = None,
        progress: Callable[[int, int], object] | None = None,
        direction: str | None = None,
        fieldOfView: str | None = None,
        directions: str | None = None,
        stop: Mapping[str, float | str | vtkMRMLMarkupsROINode | None] | None = None,
    ) -> vtkMRMLSegmentationNode:
        """Segment an object and return the segmentation. Waits for it; Slicer stays responsive meanwhile.

        From a point (all positions are RAS, in mm)::

            logic = slicer.util.getModuleLogic("MedSAM2Slicer")
            ct = slicer.util.getNode("MedSAM2ChestCT")
            segmentation = logic.process(ct, segmentName="liver", points=[(53, 20, -232)])

        From a box, given by two opposite corners on one slice, and a point that must be left out::

            corners = [(-115, -60, -297.5), (-71, -19, -297.5)]
            logic.process(ct, segmentation, "left kidney", box=corners, exclude=[(-75, -22, -297.5)])

        From markups, with progress, on a lung window and on part of the slices only::

            points = slicer.util.arrayFromMarkupsControlPoints(slicer.util.getNode("F"), world=True)
            logic.process(ct, points=points, window="lung", range=(40, 90), progress=lambda done, all: print(done, all))

        segmentationNode, segmentName: written into; made if there is none. The name is the exact one, or an ID.
        scribbles, excludeScribbles: strokes, each a list of positions along it.
        roiNode: a box and its range of slices. lineNode: a line along the longest diameter, as for RECIST; it stands
        for a box around an ellipse.
        maskSegment: name or ID of a segment of the segmentation that is taken as true on the slices it marks.
        axis: axial, coronal, sagittal or an array axis (0, 1, 2 for k, j, i; default 0). window: auto, a CT preset or
        "level/width". model: a catalog name or a checkpoint's path. range: slices along the axis, the last one
        excluded. memory: recency, self-sorting or pooled. progress: called with slices done and planned. direction:
        both, forward or backward. fieldOfView: auto, whole or zoom. directions: one, or three to follow the object
        along all axes, which takes up to three times as long. stop: rules by the names of `medsam2_core.StopRules`;
        of these, inside is the name or ID of a segment, or an ROI node: ``stop={"inside": slicer.util.getNode("R")}``.

        The model stays loaded for as long as the logic lives. Raises MedSAM2Error, whose text says what to do.
        """
        from MedSAM2SlicerLib.console import process

        return process(
            self._worker(),
            volumeNode,
            segmentationNode=segmentationNode,
            segmentName=segmentName,
            points=points,
            exclude=exclude,
            scribbles=scribbles,
            excludeScribbles=excludeScribbles,
            box=box,
            roiNode=roiNode,
            lineNode=lineNode,
            maskSegment=maskSegment,
            axis=axis,
            window=window,
            model=model,
            range=range,
            memory=memory,
            progress=progress,
            direction=direction,
            fieldOfView=fieldOfView,
            directions=directions,
            stop=stop,
        )

    def processImages(
        self,
        images: Sequence[vtkMRMLScalarVolumeNode] | vtkMRMLSequenceBrowserNode,
        prompts: Sequence[Mapping[str, Any]],
        order: str | None = None,
        memory: str | None = None,
        seed: int | None = None,
        model: str | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[vtkMRMLSegmentationNode]:
        """Segment a set of images from prompts on some of them, and return their segmentations::

            logic = slicer.util.getModuleLogic("MedSAM2Slicer")
            photos = [slicer.util.getNode(name) for name in ("a", "b", "c")]
            box = [(-190, -545, 0), (-318, -758, 0)]
            segmentations = logic.processImages(photos, [{"image": 0, "object": "disc", "box": box}])

        images: volumes of one slice, gray or in color, of any sizes; or the browser of a sequence of such, whose
        segmentations then are a sequence in the same browser. prompts: for each image that is prompted, by its place
        in the list or its node, and each object in it: points, exclude and box as in `process`, or absent=True, which
        says that the object is not in the image. order: free (the order of the images makes no difference, the
        default) or arrival, with its memory (self-sorting or recency) and seed. model, progress: as in `process`.
        A mask that a person drew or corrected in one of the segmentations stays.

        Waits for it; Slicer stays responsive meanwhile. Raises MedSAM2Error, whose text says what to do.
        """
        from MedSAM2SlicerLib.images.console import processImages

        return processImages(
            self._worker(), images, prompts, progress, order=order, memory=memory, seed=seed, model=model
        )

    def throughTime(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        segmentationNode: vtkMRMLSegmentationNode,
        segmentName: str,
        progress: Callable[[int, int], object] | None = None,
        model: str | None = None,
        window: str | None = None,
        memory: str | None = None,
    ) -> tuple[vtkMRMLSegmentationNode, vtkMRMLTableNode]:
        """Carry a segment from the current frame of a sequence to all others::

            segmentation = logic.process(heart, segmentName="ventricle", points=[(10, 20, 30)])
            overTime, volumes = logic.throughTime(heart, segmentation, "ventricle")

        volumeNode: the volume that a sequence browser shows. The segment's mask there is taken as true. Returns the
        segmentation that steps with the browser, and a table of the segment's volume in mL and confidence by frame.
        progress: called with frames done and planned; the others as in `process`.

        Waits for it; Slicer stays responsive meanwhile. Raises MedSAM2Error, whose text says what to do.
        """
        from MedSAM2SlicerLib.moments.console import throughTime

        return throughTime(
            self._worker(),
            volumeNode,
            segmentationNode,
            segmentName,
            progress,
            model=model,
            window=window,
            memory=memory,
        )

    def replay(
        self,
        volumeNode: vtkMRMLScalarVolumeNode,
        run: str | Path | Mapping[str, Any],
        segmentationNode: vtkMRMLSegmentationNode | None = None,
        progress: Callable[[int, int], object] | None = None,
        model: str | None = None,
    ) -> vtkMRMLSegmentationNode:
        """Make segments again from a saved run, with all corrections, and return the segmentation::

            logic = slicer.util.getModuleLogic("MedSAM2Slicer")
            segmentation = logic.replay(slicer.util.getNode("MedSAM2ChestCT"), "/data/liver-run.json")

        run: a file of "Save run" or of `medsam2 propagate --report`, or its content. segmentationNode: written into,
        with the run's segments drawn again; made if there is none. progress: called with slices done and planned.
        model: a checkpoint's path, for a run with a model that is not in the catalog. On another volume points and
        boxes keep their place in RAS; masks need the same number of slices, rows and columns.

        Waits for it; Slicer stays responsive meanwhile. Raises MedSAM2Error, whose text says what to do.
        """
        from MedSAM2SlicerLib.replay import replay

        return replay(self._worker(), volumeNode, run, segmentationNode, progress, model)

    def _worker(self) -> WorkerClient:
        if self._client is None:
            from MedSAM2SlicerLib.ui.services import Services

            services = Services(_HERE)
            self._client = services.client()
            weakref.finalize(self, services.close)
        return self._client


class MedSAM2SlicerTest(ScriptedLoadableModuleTest):
    """Runs the self tests in Testing/Python."""

    def runTest(self) -> None:
        """Run them all; an AssertionError says which failed, or that an installed extension has none."""
        if not (_HERE / "Testing" / "Python").is_dir():
            raise AssertionError("The self tests come with the source code only: add its folder to Slicer's modules.")
        suite = unittest.TestLoader().discover(str(_HERE / "Testing" / "Python"), "test_*.py")
        result = unittest.TextTestRunner(verbosity=2).run(suite)
        if not result.wasSuccessful():
            raise AssertionError(f"{len(result.failures)} self tests failed, {len(result.errors)} ended with an error.")
