"""Cohorts: the cases of a table, each run as `medsam2 propagate` would, by any number of processes, and a report."""
