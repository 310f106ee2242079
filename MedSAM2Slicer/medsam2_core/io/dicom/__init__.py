"""DICOM as its headers say: which slices there are, where they lie, and what their pixels mean.

`scan` finds the files, `headers` reads what each slice says of itself, `series` sorts slices into series, `grid` holds
them against a regular grid, `pixels` turns stored pixels into values, `regular` resamples what is on no grid.
"""
