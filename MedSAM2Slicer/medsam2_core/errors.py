"""The few errors the product raises on purpose. Each message says what happened and what to do."""

from __future__ import annotations


class MedSAM2Error(Exception):
    """Base of every error this package raises on purpose; its text is fit to show to a user."""


class PromptError(MedSAM2Error):
    """A point, box or mask that cannot be used as given."""


class VolumeError(MedSAM2Error):
    """A volume or label map that cannot be read, written or segmented."""


class WeightsError(MedSAM2Error):
    """A model, checkpoint or download that is missing, damaged or does not fit."""


class DeviceError(MedSAM2Error):
    """A device that is not there or has no memory left."""


class WorkerError(MedSAM2Error):
    """The model process could not be started or ended unexpectedly."""


class Cancelled(MedSAM2Error):  # noqa: N818 (a request the user made, not a failure)
    """The user asked to stop; results received before stay valid."""


# As torch says it for an NVIDIA or Apple GPU, for a CPU under Linux, and under Windows.
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def says_no_memory(error: BaseException) -> bool:
    """Whether an error's text says that no memory is left; torch has a class for that on some devices only."""
    return any(words in str(error).lower() for words in _NO_MEMORY)
