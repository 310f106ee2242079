"""Long work on arrays in short pieces, so that the interface never freezes: an array that grows, and a hash."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from medsam2_core.image.window import slabs


class GrowingArray:
    """An array whose `steps` fill it from the first row of its first axis to the last.

    Each gives how many rows are done, the same number as before if it did something else first. Any thread may ask;
    after an error of a step, whoever asks gets that.
    """

    def __init__(self, array: npt.NDArray[Any], steps: Iterator[int]) -> None:
        self._array, self._steps = array, steps
        self._done = 0
        self._problem: Exception | None = None
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Of the whole."""
        return int(self._array.nbytes)

    def whole(self) -> npt.NDArray[Any]:
        """Return it with all that is still missing."""
        while self._grow():
            pass
        return self._array

    def pieces(self) -> Iterator[memoryview]:
        """Give the bytes in order, after each step those that it added, which may be none."""
        given, goesOn = 0, True
        while goesOn:
            goesOn = self._grow()
            done = self._done
            yield self._array[given:done].data.cast("B") if done > given else memoryview(b"")
            given = done

    def _grow(self) -> bool:
        """Do a step; whether there was one to do."""
        with self._lock:
            if self._problem is not None:
                raise self._problem
            try:
                done = next(self._steps, None)
            except Exception as error:
                self._problem = error
                raise
            self._done = len(self._array) if done is None else done
            return done is not None


class VoxelHash:
    """SHA-256 of an array's type, shape and values, in hexadecimal."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array, self._slabs = array, slabs(array)
        self._type = array.dtype.newbyteorder("<")
        self._digest = hashlib.sha256(f"{self._type.str} {array.shape}".encode())
        self.goesOn = True
        """Whether there is more to do."""

    def work(self, seconds: float) -> bool:
        """Go on for about so long; whether there is more to do."""
        end = time.perf_counter() + seconds
        while self._next():
            if time.perf_counter() > end:
                break
        return self.goesOn

    def result(self) -> str:
        """Return it, after all that is still to be done."""
        while self._next():
            pass
        return self._digest.hexdigest()

    def _next(self) -> bool:
        rows = next(self._slabs, None)
        if rows is not None:
            self._digest.update(np.ascontiguousarray(self._array[rows], dtype=self._type).data)
        self.goesOn = rows is not None
        return self.goesOn
