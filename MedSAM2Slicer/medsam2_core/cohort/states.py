"""The states of a case, as reports and summaries name them. Imports nothing heavy, for 3D Slicer."""

OPEN, FAILED, DONE, ACCEPTED = "open", "failed", "done", "accepted"
