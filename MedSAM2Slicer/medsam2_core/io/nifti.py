"""NIfTI files, header and voxels: which of its places a file means, and the voxels exactly as it holds them.

A header says up to three times where the voxels lie: by a matrix (sform), by a rotation (qform), and by the voxel sizes
(pixdim) alone. As the standard and nibabel have it, the sform counts if it has a code, else the qform, else pixdim.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsam2_core.arrays import Array
from medsam2_core.counting import counted
from medsam2_core.errors import VolumeError
from medsam2_core.image.geometry import Float, Geometry, grid_from_affine, quaternion
from medsam2_core.io.values import narrowed, scaled
from medsam2_core.notices import tell

_FIRST_BYTES = 540  # of a NIfTI-2 header, the longer one
_TYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_COLOR = (32, 128, 1792, 2048, 2304)
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # by the unit code: none, meters, mm, microns
_STARTS = {1: 352, 2: 544}  # of the voxels, by the version of the format
_RIGHT_ANGLES = 2e-3
_LARGEST_SHIFT = 0.1  # voxels between two places of one corner
_NIFTI1 = np.dtype(
    [
        *(("sizeof_hdr", "i4"), ("unused1", "V36"), ("dim", "i2", 8), ("intent", "V14"), ("datatype", "i2")),
        *(("bitpix", "i2"), ("slice_start", "i2"), ("pixdim", "f4", 8), ("vox_offset", "f4"), ("scl_slope", "f4")),
        *(("scl_inter", "f4"), ("slice_end", "i2"), ("slice_code", "u1"), ("xyzt_units", "u1"), ("cal", "f4", 2)),
        *(("timing", "f4", 2), ("unused2", "V8"), ("descrip", "S80"), ("aux_file", "S24"), ("qform_code", "i2")),
        *(("sform_code", "i2"), ("quaternion", "f4", 3), ("qoffset", "f4", 3), ("srow", "f4", (3, 4))),
        *(("intent_name", "S16"), ("magic", "S4")),
    ]
)
_NIFTI2 = np.dtype(
    [
        *(("sizeof_hdr", "i4"), ("magic", "S8"), ("datatype", "i2"), ("bitpix", "i2"), ("dim", "i8", 8)),
        *(("intent", "V24"), ("pixdim", "f8", 8), ("vox_offset", "i8"), ("scl_slope", "f8"), ("scl_inter", "f8")),
        *(("cal", "f8", 2), ("timing", "f8", 2), ("slices", "i8", 2), ("descrip", "S80"), ("aux_file", "S24")),
        *(("qform_code", "i4"), ("sform_code", "i4"), ("quaternion", "f8", 3), ("qoffset", "f8", 3)),
        *(("srow", "f8", (3, 4)), ("slice_code", "i4"), ("xyzt_units", "i4"), ("intent_code", "i4")),
        *(("intent_name", "S16"), ("dim_info", "u1"), ("unused", "V15")),
    ]
)


@dataclass(frozen=True)
class Forms:
    """Where a NIfTI header says that its voxels lie, in its own words; `fields` are those of the header.

    `version` is that of the format: the second has numbers of 64 bits.
    """

    fields: dict[str, Any]
    version: int = 1

    @property
    def mm(self) -> float:
        """The mm in its unit of length."""
        return _MM.get(int(self.fields["xyzt_units"]) & 7, 1.0)


@dataclass(frozen=True)
class Place:
    """Where voxels lie: voxel (i, j, k) at `origin` + `columns` @ (i, j, k), LPS mm; columns may be at any angle.

    `forms` is what the NIfTI header of the volume says of it, where that is one.
    """

    columns: Float
    origin: Float
    forms: Forms | None = None

    @property
    def affine_ijk_to_ras(self) -> Float:
        """The same as a 4x4 matrix to RAS mm."""
        return _affine(np.diag([-1.0, -1.0, 1.0]) @ np.column_stack([self.columns, self.origin]))


_PLACE = ("pixdim", "qform_code", "sform_code", "quaternion", "qoffset", "srow", "xyzt_units")


def is_nifti(path: Path) -> bool:
    """Whether `path` is named as a NIfTI volume, of one file or two."""
    return path.name.lower().endswith((".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"))


def read_nifti(path: Path, moments: bool = False) -> tuple[Array, Geometry, Forms]:
    """The voxels (k, j, i), or of one or several `moments` (t, k, j, i), where they lie, and what the header says.

    Tells if the header contradicts itself by more than a tenth of a voxel. Raises VolumeError for a file that is
    damaged, incomplete, of an old kind that says no place, or not one volume of single numbers.
    """
    header_path, image_path = _files(path)
    header = _header(header_path)
    count, shape, kind = *_shape(header, moments), _kind(header)
    forms = _forms(header)
    grid = _grid(shape, forms)
    offset = _offset(header, forms.version) if image_path == header_path else max(0, int(header["vox_offset"]))
    stored = _voxels(image_path, offset, (count, *shape) if moments else shape, kind)
    return _meant(stored, float(header["scl_slope"]), float(header["scl_inter"])), grid, forms


def read_nifti_grid(path: Path) -> Geometry:
    """Where the voxels lie, by the header alone. Tells and raises as `read_nifti` does of a header."""
    header = _header(_files(path)[0])
    _kind(header)
    _, shape = _shape(header, moments=False)
    return _grid(shape, _forms(header))


def _forms(header: Any) -> Forms:
    version = 1 if header.dtype.itemsize == _NIFTI1.itemsize else 2
    return Forms({name: header[name].tolist() for name in _PLACE}, version)


def _files(path: Path) -> tuple[Path, Path]:
    """The files of the header and of the voxels."""
    for ending, other in ((".img", ".hdr"), (".hdr", ".img")):
        for packed in ("", ".gz"):
            if path.name.lower().endswith(ending + packed):
                stem = path.name[: -len(ending + packed)]
                pair = [path, *(path.with_name(stem + other + end) for end in (packed, "", ".gz"))]
                partner = next((one for one in pair[1:] if one.exists()), None)
                if partner is None:
                    raise VolumeError(f"Its other half, {stem}{other}, is not next to it: copy both files.")
                return (path, partner) if ending == ".hdr" else (partner, path)
    return path, path


def _open(path: Path) -> Any:
    """The file, decompressed if it is compressed, whatever its name says."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if packed else path.open("rb")


def _header(path: Path) -> Any:
    """The header's fields by name, in this machine's byte order."""
    try:
        with _open(path) as file:
            start = file.read(_FIRST_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(_INCOMPLETE) from error
    for layout in (_NIFTI1, _NIFTI2):
        for kind in (layout.newbyteorder("<"), layout.newbyteorder(">")):
            if len(start) >= layout.itemsize:
                header = np.frombuffer(start, kind, 1)[0]
                if header["sizeof_hdr"] == layout.itemsize:
                    return _checked(header, path)
    raise VolumeError(_NO_NIFTI)


def _checked(header: Any, path: Path) -> Any:
    """The header, if it is one of NIfTI."""
    magic = bytes(header["magic"])[:3]
    if magic not in (b"n+1", b"n+2", b"ni1", b"ni2"):
        if path.name.lower().endswith((".nii", ".nii.gz")):
            raise VolumeError(_NO_NIFTI)
        raise VolumeError(
            "This is Analyze 7.5, which does not say where left and right are: convert it to NIfTI with the program "
            "that created it."
        )
    return header


_NO_NIFTI = (
    "Cannot be read as NIfTI, so it is damaged, incomplete or of another format: copy it again, check its permissions, "
    "or export it as NIfTI, NRRD or DICOM."
)
_INCOMPLETE = "The file is incomplete (its end is missing) or damaged: copy or download it again."


def _shape(header: Any, moments: bool) -> tuple[int, tuple[int, int, int]]:
    """How many moments, and voxels along k, j, i."""
    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : 1 + max(0, min(count, 7))]]
    if not 1 <= count <= 7 or min(sizes) < 0:
        raise VolumeError(_NO_NIFTI)
    if 0 in sizes:
        raise VolumeError("The volume is empty (a size of 0): export it again.")
    if count < 3 or max(sizes[4 if moments else 3 :], default=1) > 1:
        shape = " x ".join(map(str, sizes))
        raise VolumeError(f"The image has {counted(count, 'dimension')} ({shape}): give one 3D volume.")
    return (sizes[3] if count > 3 else 1), (sizes[2], sizes[1], sizes[0])


def _kind(header: Any) -> np.dtype[Any]:
    """The type of a voxel, in the file's byte order."""
    code = int(header["datatype"])
    if code not in _TYPES:
        what = "convert color, vector or complex data to one scalar volume" if code in _COLOR else "convert it"
        raise VolumeError(f"The voxels are not single numbers that are read here (NIfTI type {code}): {what}.")
    order = str(header.dtype["datatype"].str[0])
    kind: np.dtype[Any] = np.dtype(order + _TYPES[code])
    return kind


def _offset(header: Any, version: int) -> int:
    """Where the voxels begin in a file with both; some programs leave it at 0 and mean right after the header."""
    offset, first = int(header["vox_offset"]), _STARTS[version]
    if offset and offset < first:
        raise VolumeError(_NO_NIFTI)
    return offset or first


def _voxels(path: Path, offset: int, shape: tuple[int, ...], kind: np.dtype[Any]) -> Array:
    """The stored numbers; VolumeError if there are fewer."""
    wanted, size = math.prod(shape) * kind.itemsize, path.stat().st_size
    if offset < 0 or offset + wanted > size * _LARGEST_RATIO:
        raise VolumeError(_INCOMPLETE)
    voxels = np.empty(shape, kind)
    try:
        with _open(path) as file:
            if not isinstance(file, gzip.GzipFile) and size < offset + wanted:
                raise VolumeError(_INCOMPLETE)
            file.seek(offset)
            _fill(voxels, file)
            file.read(1)  # reaches the end of a compressed file, where its checksum is compared
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise VolumeError(_INCOMPLETE) from error
    return voxels.astype(kind.newbyteorder("="), copy=False)


_LARGEST_RATIO = 1100  # no gzip file holds more than 1032 times its size


def _fill(voxels: Array, file: Any) -> None:
    rest = voxels.reshape(-1).view(np.uint8).data
    while len(rest):
        count = file.readinto(rest[: 1 << 24])
        if not count:
            raise EOFError
        rest = rest[count:]


def _meant(stored: Array, slope: float, intercept: float) -> Array:
    """The values; a slope of 0 or none means that numbers are stored as they are."""
    if slope == 0 or not math.isfinite(slope) or (slope == 1 and intercept == 0):
        return stored
    if not math.isfinite(intercept):
        raise VolumeError("The header's scl_inter is not finite: correct it, or export the volume again.")
    return np.stack([narrowed(scaled(part, slope, intercept)) for part in stored])


# Where the voxels lie


def _grid(shape: tuple[int, int, int], forms: Forms) -> Geometry:
    """The grid that counts; tells of another that does not agree."""
    fields = forms.fields
    if forms.mm != 1:
        tell(f"Its header measures in units of {forms.mm:g} mm; lengths here are in mm.")
    if fields["sform_code"] > 0:
        grid = grid_from_affine(shape, _matrix(forms))
        _compare(grid, forms)
        return grid
    if fields["qform_code"] > 0:
        return grid_from_affine(shape, _rotation(forms))
    tell(
        "Its header gives no position in the patient (neither sform nor qform): as in nibabel, the first axis is "
        "taken to run from right to left, so left and right are not certain."
    )
    return grid_from_affine(shape, _centered(shape, forms))


def _compare(grid: Geometry, forms: Forms) -> None:
    """Tell if what does not count contradicts the sform by more than a tenth of a voxel."""
    with_rotation = forms.fields["qform_code"] > 0
    try:
        other = grid_from_affine(grid.shape_kji, _rotation(forms)) if with_rotation else None
    except VolumeError:
        tell("Its qform is damaged: the sform, which has a code, is used.")
        return
    if other is not None and (shift := grid.largest_shift(other)) > _LARGEST_SHIFT:
        tell(
            f"Its sform and qform put it in two places (up to {shift:.3g} voxels apart): the sform is used, as in "
            "nibabel and FSL; a program that goes by the qform shows image and mask elsewhere, but together."
        )
    elif other is None and _scale_shift(grid, forms) > _LARGEST_SHIFT:
        sizes = " x ".join(f"{size * forms.mm:.4g}" for size in forms.fields["pixdim"][1:4])
        spacing = " x ".join(f"{size:.4g}" for size in grid.spacing_ijk)
        tell(
            f"Its voxels are {spacing} mm by its sform but {sizes} mm by its pixdim: the sform is used, as in nibabel; "
            "correct the header if volumes come out wrong."
        )


def _scale_shift(grid: Geometry, forms: Forms) -> float:
    """Voxels by which the far corner moves when the sizes are those of pixdim."""
    sizes = np.abs(forms.fields["pixdim"][1:4]) * forms.mm
    return float(np.max(np.abs(sizes / np.array(grid.spacing_ijk) - 1) * grid.shape_kji[::-1]))


def _matrix(forms: Forms) -> Float:
    return _affine(np.array(forms.fields["srow"]) * forms.mm)


def _affine(rows: Float) -> Float:
    if not np.isfinite(rows).all():
        raise VolumeError("The header's position in the patient is not finite: correct it, or export the volume again.")
    return np.vstack([rows, [0, 0, 0, 1]])


def _rotation(forms: Forms) -> Float:
    """The affine of the qform, whose quaternion has its first part left out."""
    b, c, d = forms.fields["quaternion"]
    rest = 1 - (b * b + c * c + d * d)
    rounding = 3 * float(np.finfo(np.float32 if forms.version == 1 else np.float64).eps)  # as nibabel has it
    if not rest > -rounding:  # NaN too
        raise VolumeError("The header's rotation (qform) is damaged: correct it, or export the volume again.")
    parts = np.array([0.0 if rest < rounding else math.sqrt(rest), b, c, d])
    a, b, c, d = (parts / np.linalg.norm(parts)).tolist()
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    sizes = np.array(forms.fields["pixdim"][1:4]) * (1, 1, -1 if forms.fields["pixdim"][0] < 0 else 1)
    if not (np.abs(sizes) > 0).all():
        raise VolumeError("The header's voxel sizes (pixdim) are not above 0: correct them or export the volume again.")
    return _affine(np.column_stack([turn * sizes, forms.fields["qoffset"]]) * forms.mm)


def _centered(shape: tuple[int, int, int], forms: Forms) -> Float:
    """The affine of voxel sizes alone: the middle of the volume at 0, the first axis to the left."""
    linear = np.diag(np.array(forms.fields["pixdim"][1:4]) * (-forms.mm, forms.mm, forms.mm))
    middle = (np.array(shape[::-1]) - 1) / 2
    return _affine(np.column_stack([linear, -linear @ middle]))


# Writing


def header_bytes(shape: tuple[int, ...], kind: np.dtype[Any], place: Place) -> bytes:
    """The header of a label map (k, j, i), up to its voxels: placed as `place.forms` says, else by sform and qform."""
    first = max(shape) < 1 << 15 and (place.forms is None or place.forms.version == 1)
    layout = (_NIFTI1 if first else _NIFTI2).newbyteorder("<")
    header: Any = np.zeros(1, layout)[0]
    fields = _own_fields(place) if place.forms is None else place.forms.fields
    for name, value in fields.items():
        header[name] = value
    start = _STARTS[1 if first else 2]
    header["sizeof_hdr"] = layout.itemsize
    header["dim"] = (3, *shape[::-1], 1, 1, 1, 1)
    header["pixdim"][4:] = 0
    header["datatype"], header["bitpix"] = next(
        (code, 8 * kind.itemsize) for code, name in _TYPES.items() if name == f"u{kind.itemsize}"
    )
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = start, 1, 0
    header["xyzt_units"] = int(header["xyzt_units"]) & 7
    header["magic"] = b"n+1" if first else b"n+2\0\r\n\x1a\n"
    return bytes(header.tobytes()).ljust(start, b"\0")


def _own_fields(place: Place) -> dict[str, Any]:
    """Both forms, which agree; the sform alone where axes are not at right angles, which a rotation cannot say."""
    rows = place.affine_ijk_to_ras[:3]
    columns, origin = rows[:, :3], rows[:, 3]
    spacing = np.linalg.norm(columns, axis=0)
    unit = columns / spacing
    turned = bool(np.abs(unit.T @ unit - np.eye(3)).max() <= _RIGHT_ANGLES)
    flip = -1.0 if np.linalg.det(unit) < 0 else 1.0
    return {
        "pixdim": [flip, *spacing, 0, 0, 0, 0],
        "qform_code": int(turned),
        "sform_code": 1,
        "quaternion": quaternion(unit * (1, 1, flip)) if turned else (0, 0, 0),
        "qoffset": origin,
        "srow": rows,
        "xyzt_units": 2,
    }
