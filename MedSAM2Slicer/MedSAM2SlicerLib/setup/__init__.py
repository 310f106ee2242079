"""What is installed before the first click; `removeModels`, for the Python console, takes the models away again."""

from MedSAM2SlicerLib.setup.installing import removeModels

__all__ = ["removeModels"]
