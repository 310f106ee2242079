"""The options of a job: what `medsam2 propagate` takes, and so what a case of a cohort can say."""

from __future__ import annotations

import argparse

from medsam2_core.job.paths import path_argument
from medsam2_core.job.prompt_options import add_prompt_options
from medsam2_core.job.setting_options import add_setting_options

_LARGEST_STEP = 10_000


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Add a job's image, its output and report, and the options of `add_case_options`."""
    parser.add_argument(
        "volume", type=path_argument, metavar="CT", help="image file, DICOM cine, or folder or DICOMDIR of DICOM slices"
    )
    parser.add_argument(
        "--output",
        type=path_argument,
        required=True,
        metavar="OUT.seg.nrrd",
        help=".seg.nrrd, .nrrd, .nii, .nii.gz, .mha, or for a DICOM series .dcm (DICOM SEG)",
    )
    parser.add_argument("--report", type=path_argument, metavar="R.json", help="write what was done, slice by slice")
    parser.add_argument(
        "--sheet",
        type=path_argument,
        metavar="S.html",
        help="write a page with every slice and its outlines, doubtful ones first",
    )
    parser.add_argument(
        "--disagreement",
        type=path_argument,
        metavar="D.nii.gz",
        help="write where the axes of --directions three disagree, as an image in percent of them",
    )
    add_case_options(parser)


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be said of an image that is to be segmented: which series, prompts, and settings."""
    add_series_options(parser)
    add_prompt_options(parser)
    add_shared_options(parser)
    parser.add_argument(
        "--prompts", type=path_argument, metavar="RUN.json", help="take prompts and settings from a report"
    )


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that make sense for many images alike: the frame of coordinates, and the settings of a run."""
    parser.add_argument(
        "--frame",
        choices=("ijk", "ras", "lps"),
        default="ijk",
        help="frame of the coordinates: voxels, or mm (default: ijk)",
    )
    parser.add_argument(
        "--every",
        type=_step,
        metavar="N",
        help="take one slice in N of a --mask or --from-segmentation, so that those between are redrawn",
    )
    add_setting_options(parser)


def add_series_options(parser: argparse.ArgumentParser) -> None:
    """Add --series and --resample."""
    parser.add_argument("--series", metavar="N|UID", help="which DICOM series, if there are several; see medsam2 info")
    parser.add_argument(
        "--resample",
        action="store_true",
        help="put tilted or uneven DICOM slices on a regular grid, and the masks back on the slices",
    )


def _step(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _LARGEST_STEP:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of slices: give 1 to {_LARGEST_STEP}")
    return int(text)
