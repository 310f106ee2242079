"""The version of the installed package."""

from __future__ import annotations

from importlib import metadata


def package_version() -> str:
    """Version of the distribution; "source tree" where the package runs without being installed, as in Slicer."""
    try:
        return metadata.version("medsam2slicer")
    except metadata.PackageNotFoundError:
        return "source tree"
