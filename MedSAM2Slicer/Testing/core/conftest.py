"""Open data for the core's tests: fetched once, cached, and skipped only where it cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

import open_data

Data = TypeVar("Data")


def _or_skip(get: Callable[[], Data]) -> Data:
    try:
        return get()
    except open_data.OpenDataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chest_ct() -> open_data.ChestCT:
    return _or_skip(open_data.chest_ct)


@pytest.fixture(scope="session")
def abdomen_ct() -> open_data.Labelled:
    return _or_skip(open_data.totalsegmentator_small)


@pytest.fixture(scope="session")
def abdomen_mr() -> open_data.Labelled:
    return _or_skip(open_data.mr_small)


@pytest.fixture(scope="session")
def dicom_series() -> open_data.Labelled:
    return _or_skip(open_data.dicom_series)


@pytest.fixture(scope="session")
def slicer_segmentation() -> open_data.Labelled:
    return _or_skip(open_data.slicer_segmentation)
