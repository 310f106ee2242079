"""SAM 2 and SAM 2.1 in plain torch, one part per file; start reading at `sam2.py`."""

from medsam2_core.model.sam2 import ABSENT_LOGIT, SAM2, ImageFeatures, Recall, SliceOutput, SlicePrompts

__all__ = ["ABSENT_LOGIT", "SAM2", "ImageFeatures", "Recall", "SliceOutput", "SlicePrompts"]
