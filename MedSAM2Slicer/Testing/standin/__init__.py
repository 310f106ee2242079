"""Enough of Slicer around slicer-core's real MRML to run the module's widgets and self tests without Slicer.

PySide6 behind PythonQt's manners, a few ctk and qMRML widgets, and the application's own objects. `install()` puts it
all where `import qt` and `slicer.app` find it; do that in a process of its own, since it changes PySide6 and `slicer`.
"""
