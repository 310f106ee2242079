"""The parts of MedSAM-2 that know Slicer: MRML and VTK, with Qt only under `ui`. None of them imports torch."""
