"""Reviewing a cohort: the cases of a folder that `medsam2 batch` wrote, loaded one by one, corrected and accepted."""
