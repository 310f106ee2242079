"""A case of a cohort, loaded as its run or the person who worked on it last left it."""

from __future__ import annotations

from dataclasses import dataclass

from medsam2_core.errors import MedSAM2Error
from medsam2_core.image.window import Window
from medsam2_core.run.file import check_run, read_json
from medsam2_core.run.settings import FileSettings
from MedSAM2SlicerLib.cohort.casenodes import CaseNodes, addCase
from MedSAM2SlicerLib.cohort.cohortfolder import CohortFolder
from MedSAM2SlicerLib.cohort.recorded import restoreRecorded
from MedSAM2SlicerLib.cohort.reviewnotes import restoreReview


@dataclass(frozen=True)
class LoadedCase:
    """A case in the scene, with the settings and the window of its run, and the segment to look at first."""

    nodes: CaseNodes
    settings: FileSettings
    window: Window
    segmentId: str


def loadCase(cohort: CohortFolder, name: str) -> LoadedCase:
    """Put a case into the scene. Raises MedSAM2Error for one that cannot be; then the scene is as before."""
    from medsam2_core.cohort.opening import read_image

    path = cohort.case(name).path / "report.json"
    report = read_json(path)
    settings = check_run(report, path).settings
    volume = read_image(cohort.noted(name), cohort.path)
    window = settings.window or Window.parse("auto", volume.array)
    segmentation, review = cohort.case(name).latest()
    nodes = addCase(name, volume, window, segmentation)
    try:
        if review is None:
            restoreRecorded(nodes, report, path)
        else:
            restoreReview(nodes, review)
    except MedSAM2Error:
        nodes.remove()
        raise
    return LoadedCase(nodes, settings, window, _firstSegment(cohort, nodes))


def _firstSegment(cohort: CohortFolder, nodes: CaseNodes) -> str:
    """The most doubtful segment according to the case's facts; else the first one."""
    doubts = {one["name"]: one["doubt"] for one in cohort.told(nodes.name)["objects"]}
    segmentation = nodes.segmentationNode.GetSegmentation()
    return max(nodes.segmentIds, key=lambda one: doubts.get(segmentation.GetSegment(one).GetName(), -1.0), default="")
