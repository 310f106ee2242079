"""Label maps as files: NRRD, MetaImage and NIfTI, written slice by slice, so that no copy of the voxels is needed.

Written here and not by ITK: it writes no other place than its own into a NIfTI header, reports no full disk, and takes
the memory of two more label maps.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import IO

import numpy as np
import numpy.typing as npt

from medsam2_core.io.nifti import Place, header_bytes

Labels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

_LEVEL = 6  # zlib's own default


def write(file: IO[bytes], suffix: str, labelmap: Labels, place: Place, entries: Mapping[str, str]) -> None:
    """Write a label map (k, j, i) in the format of a file's ending; NRRD takes `entries` along. Raises OSError."""
    if suffix.endswith(".nrrd"):
        file.write(_nrrd_header(labelmap, place, entries))
        _write_gzip(file, _slices(labelmap))
    elif suffix == ".mha":
        _write_mha(file, labelmap, place)
    else:
        parts = _with_header(header_bytes(labelmap.shape, labelmap.dtype, place), labelmap)
        if suffix == ".nii.gz":
            _write_gzip(file, parts)
        else:
            file.writelines(parts)


def _slices(labelmap: Labels) -> Iterator[bytes]:
    """The voxels, i fastest, little-endian."""
    for part in labelmap:
        yield np.ascontiguousarray(part, part.dtype.newbyteorder("<")).tobytes()


def _with_header(header: bytes, labelmap: Labels) -> Iterator[bytes]:
    yield header
    yield from _slices(labelmap)


def _write_gzip(file: IO[bytes], parts: Iterator[bytes]) -> None:
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=0) as packed:
        for part in parts:
            packed.write(part)


def _numbers(values: npt.ArrayLike) -> list[str]:
    """Numbers as text that gives the very same ones back."""
    return [repr(value).removesuffix(".0") for value in np.asarray(values, np.float64).ravel().tolist()]


def _nrrd_header(labelmap: Labels, place: Place, entries: Mapping[str, str]) -> bytes:
    k, j, i = labelmap.shape
    directions = " ".join(f"({','.join(_numbers(column))})" for column in place.columns.T)
    fields = {
        "type": "unsigned char" if labelmap.dtype.itemsize == 1 else "unsigned short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": f"{i} {j} {k}",
        "space directions": directions,
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "gzip",
        "space origin": f"({','.join(_numbers(place.origin))})",
    }
    lines = ["NRRD0004", *(f"{name}: {value}" for name, value in fields.items())]
    lines += [f"{key}:={_escaped(value)}" for key, value in entries.items()]
    return ("\n".join(lines) + "\n\n").encode()


def _escaped(value: str) -> str:
    """An entry's value on one line, as NRRD has it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _write_mha(file: IO[bytes], labelmap: Labels, place: Place) -> None:
    """MetaImage says how long its compressed voxels are before they come, so that is filled in afterwards."""
    k, j, i = labelmap.shape
    spacing = np.linalg.norm(place.columns, axis=0)
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": " " * 20,
        "TransformMatrix": " ".join(_numbers((place.columns / spacing).T)),
        "Offset": " ".join(_numbers(place.origin)),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": " ".join(_numbers(spacing)),
        "DimSize": f"{i} {j} {k}",
        "ElementType": "MET_UCHAR" if labelmap.dtype.itemsize == 1 else "MET_USHORT",
        "ElementDataFile": "LOCAL",
    }
    header = "".join(f"{name} = {value}\n" for name, value in fields.items()).encode()
    file.write(header)
    packer, size = zlib.compressobj(_LEVEL), 0
    for part in _slices(labelmap):
        size += file.write(packer.compress(part))
    size += file.write(packer.flush())
    end = file.tell()
    file.seek(header.index(b" " * 20))
    file.write(str(size).ljust(20).encode())
    file.seek(end)


def largest_size(suffix: str, voxels: int, bytes_per_voxel: int) -> int:
    """Bytes that a label map takes: all of them without compression, else far more than segmented objects need."""
    if suffix == ".dcm":  # a bit for each voxel, as if one object were on each slice, and what is said of slices
        return math.ceil(voxels / 8) + (1 << 20)
    return voxels * bytes_per_voxel + 4096 if suffix == ".nii" else math.ceil(voxels / 50) + (1 << 16)
