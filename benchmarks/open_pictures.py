"""Open pictures and cine from package files, for documents and tests; see `open_data`."""

from __future__ import annotations

from pathlib import Path

from open_packages import Package, fetch

PYDICOM_DATA = Package(
    "pydicom-data",
    "1.0.0",
    "pydicom_data-1.0.0-py3-none-any.whl",
    "622ac97265f1d91f76b5120b5bd6eb0f57737c392ef863b72c71779c91e33637",
    ("data_store/data/color3d_jpeg_baseline.dcm",),
)
SCIKIT_IMAGE = Package(
    "scikit-image",
    "0.15.0",
    "scikit-image-0.15.0.tar.gz",
    "df111e654b47e5ea456c50553debe4c5ddd97258894c7ad3b7f2f9f10798e053",
    ("scikit-image-0.15.0/skimage/data/retina.jpg",),
)


def echo_cine() -> Path:
    """EVALUATION ONLY: an echocardiogram in color, 120 frames of 640x480 (DICOM, JPEG), without labels."""
    return fetch(PYDICOM_DATA) / "color3d_jpeg_baseline.dcm"


def fundus() -> Path:
    """EVALUATION ONLY: a photograph of the back of an eye, 1411x1411 RGB (JPEG), without labels."""
    return fetch(SCIKIT_IMAGE) / "retina.jpg"
