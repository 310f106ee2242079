"""2D images of every kind that sets are made of, and the label images that come of them."""

from __future__ import annotations

import copy
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import convert_color_space
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from medsam2_core.errors import VolumeError
from medsam2_core.io.picture_files import PictureFiles, Place, look_through, result_names
from medsam2_core.io.pictures import find_pictures, read_labels, read_pictures
from medsam2_core.io.png import palette_png, write_labels
from medsam2_core.notices import InputNotice

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (12, 20), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, vector: bool = False) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=vector), str(path))
    return path


def dicom(path: Path, pixels: np.ndarray, photometric: str = "MONOCHROME2", **tags: Any) -> Path:
    """A DICOM file of frames (frame, row, column), or with three samples."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.NumberOfFrames, data.Rows, data.Columns = pixels.shape[:3]
    data.SamplesPerPixel = pixels.shape[3] if pixels.ndim == 4 else 1
    data.PhotometricInterpretation, data.PixelRepresentation, data.PlanarConfiguration = photometric, 0, 0
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit = data.BitsStored - 1
    data.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "nrrd", "mha", "nii.gz"])
def test_gray_images(tmp_path: Path, ending: str) -> None:
    (found,) = read_pictures(save(tmp_path / f"a.{ending}", GRAY))
    assert np.array_equal(found.array, GRAY)
    assert found.spacing == ((1.0, 1.0) if ending in ("nrrd", "mha", "nii.gz") else None)


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff"])
def test_color_images(tmp_path: Path, ending: str) -> None:
    (found,) = read_pictures(save(tmp_path / f"a.{ending}", COLOR, vector=True))
    assert np.array_equal(found.array, COLOR)
    assert found.shape == (12, 20)


def test_depths_and_channels(tmp_path: Path) -> None:
    deep = GRAY.astype(np.uint16) * 200
    assert np.array_equal(read_pictures(save(tmp_path / "a.png", deep))[0].array, deep)
    deep_color = COLOR.astype(np.uint16) * 256 + 3
    assert np.array_equal(read_pictures(save(tmp_path / "b.png", deep_color, vector=True))[0].array, COLOR)
    with_alpha = np.dstack([COLOR, GRAY])
    assert np.array_equal(read_pictures(save(tmp_path / "c.png", with_alpha, vector=True))[0].array, COLOR)
    equal = np.dstack([GRAY] * 3)
    assert np.array_equal(read_pictures(save(tmp_path / "d.png", equal, vector=True))[0].array, GRAY)


def test_labels_are_gray_values_or_places_in_a_palette(tmp_path: Path) -> None:
    labels = (np.arange(240) % 5).reshape(12, 20).astype(np.uint8)
    for colors in ((255, 255, 255), (0, 0, 0)), ((7, 7, 7), (1, 1, 1)):
        path = tmp_path / "palette.png"
        path.write_bytes(palette_png(labels, [*colors, (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 0)]))
        assert np.array_equal(read_labels(path), labels)
    assert np.array_equal(read_labels(save(tmp_path / "gray.png", labels)), labels)
    color = np.dstack([labels * 0, labels, labels * 60])
    assert np.array_equal(read_labels(save(tmp_path / "color.png", color, vector=True)), labels != 0)
    with pytest.raises(VolumeError, match=r"pages.tif: It holds 2 images: give a file of one"):
        read_labels(save(tmp_path / "pages.tif", np.stack([labels, labels])))


def test_pages_of_a_tiff_are_images_and_slices_of_a_volume_are_not(tmp_path: Path) -> None:
    pages = np.stack([GRAY, GRAY[::-1]])
    found = read_pictures(save(tmp_path / "a.tif", pages))
    assert [np.array_equal(one.array, page) for one, page in zip(found, pages, strict=True)] == [True, True]
    with pytest.raises(VolumeError, match=r"a volume \(20 x 12 x 2\).*medsam2 propagate"):
        read_pictures(save(tmp_path / "a.nii", pages))
    (flat,) = read_pictures(save(tmp_path / "flat.nii", pages[:1]))
    assert np.array_equal(flat.array, GRAY)


def test_a_nifti_image_says_its_pixels_size(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(GRAY.T, np.diag([0.5, 0.25, 1, 1]))
    image.to_filename(tmp_path / "a.nii")
    (found,) = read_pictures(tmp_path / "a.nii")
    assert found.spacing == (0.25, 0.5)
    assert np.array_equal(found.array, GRAY)


def test_dicom_frames_in_gray_with_their_meaning(tmp_path: Path) -> None:
    stored = RNG.integers(0, 4096, (3, 12, 20), dtype=np.uint16)
    path = dicom(tmp_path / "a", stored, RescaleSlope=2, RescaleIntercept=-1000, PixelSpacing=[0.5, 0.25])
    found = read_pictures(path)
    assert np.array_equal(np.stack([one.array for one in found]), stored.astype(int) * 2 - 1000)
    assert found[0].spacing == (0.5, 0.25)
    (turned,) = read_pictures(dicom(tmp_path / "b", stored[:1], "MONOCHROME1"))
    assert np.array_equal(turned.array, stored[0].max() + (stored[0].min() - stored[0].astype(int)))


def test_dicom_frames_in_color(tmp_path: Path) -> None:
    cine = RNG.integers(0, 256, (2, 12, 20, 3), dtype=np.uint8)
    found = read_pictures(dicom(tmp_path / "a", cine, "RGB"))
    assert np.array_equal(np.stack([one.array for one in found]), cine)
    ybr = convert_color_space(cine, "RGB", "YBR_FULL")
    found = read_pictures(dicom(tmp_path / "b", ybr, "YBR_FULL"))
    assert np.abs(np.stack([one.array for one in found]).astype(int) - cine).max() <= 2
    red = np.arange(256, dtype=np.uint16) * 257
    tables = {}
    for name, table in {"Red": red, "Green": red[::-1], "Blue": np.zeros_like(red)}.items():
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = table.tobytes()
    (found,) = read_pictures(dicom(tmp_path / "c", GRAY[None], "PALETTE COLOR", **tables))
    assert np.array_equal(found.array, np.dstack([GRAY, 255 - GRAY, np.zeros_like(GRAY)]))


def test_jpeg_frames_are_those_of_the_file(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8) * 4
    frames = [np.dstack([smooth, smooth[::-1], np.full_like(smooth, 80 * step)]) for step in range(3)]
    files = [save(tmp_path / f"{step}.jpg", frame, vector=True) for step, frame in enumerate(frames)]
    path = dicom(tmp_path / "a", np.stack(frames), "YBR_FULL")
    data = pydicom.dcmread(path)
    data.PixelData = pydicom.encaps.encapsulate([file.read_bytes() for file in files])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    data.save_as(path)
    found = np.stack([one.array for one in read_pictures(path)])
    assert np.abs(found.astype(int) - np.stack(frames)).max() < 12


def test_an_ultrasound_says_its_pixels_size_by_its_regions(tmp_path: Path) -> None:
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.04, 0.05
    (found,) = read_pictures(dicom(tmp_path / "a", GRAY[None], SequenceOfUltrasoundRegions=[region]))
    assert found.spacing == pytest.approx((0.5, 0.4))
    other = copy.deepcopy(region)
    other.PhysicalDeltaX = 0.01
    (found,) = read_pictures(dicom(tmp_path / "b", GRAY[None], SequenceOfUltrasoundRegions=[region, other]))
    assert found.spacing is None


def test_files_that_hold_no_image(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.jpg", RNG.integers(0, 256, (99, 99), dtype=np.uint8))
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(VolumeError, match=r"cut\.jpg: The file is incomplete"):
        read_pictures(tmp_path / "cut.jpg")
    png = save(tmp_path / "a.png", GRAY)
    png.write_bytes(png.read_bytes()[:60])
    with pytest.raises(VolumeError, match="damaged"):
        read_pictures(png)
    with pytest.raises(VolumeError, match="No such file"):
        read_pictures(tmp_path / "none.png")
    with pytest.raises(VolumeError, match="All pixels are NaN"):
        read_pictures(save(tmp_path / "a.nrrd", np.full((3, 3), np.nan)))
    empty = pydicom.dcmread(dicom(tmp_path / "d.dcm", GRAY[None]))
    del empty.PixelData
    empty.save_as(tmp_path / "d.dcm")
    with pytest.raises(VolumeError, match="holds no image"):
        read_pictures(tmp_path / "d.dcm")


def test_gray_with_transparency_is_refused_by_its_name(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.repeat(GRAY, 2, axis=1))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:20], content[25] = GRAY.shape[1].to_bytes(4, "big"), 4  # the same bytes as half as many pixels of two
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(VolumeError, match="such as gray with transparency: export it in plain gray or RGB"):
        read_pictures(tmp_path / "a.png")


def test_images_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("a10.png", "a9.png", "sub/a1.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        save(tmp_path / name, GRAY) if not name.endswith("txt") else (tmp_path / name).write_text("", encoding="utf-8")
    found = find_pictures([tmp_path, tmp_path / "a9.png"])
    assert [path.name for path in found] == ["a9.png", "a10.png", "a1.jpg"]
    (tmp_path / "none").mkdir()
    with pytest.raises(VolumeError, match="There is no image here"):
        find_pictures([tmp_path / "none"])


def test_images_of_other_kinds_in_a_folder_are_told(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GRAY)
    for name in ("b.webp", "sub/c.HEIC", "d.txt", ".e.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(InputNotice, match=r"2 of its files are images of .* not read here \(.heic, .webp\): convert"):
        assert find_pictures([tmp_path]) == [tmp_path / "a.png"]


def test_a_broken_file_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    good, cine = save(tmp_path / "a.png", GRAY), dicom(tmp_path / "b.dcm", np.stack([COLOR, COLOR]), "RGB")
    (tmp_path / "c.png").write_bytes(b"no image")
    refused: list[VolumeError] = []
    found = list(look_through([good, tmp_path / "c.png", cine], "0/100", refused.append))
    assert [(place.path, place.frame, place.count) for place, _ in found] == [(good, 0, 1), (cine, 0, 2), (cine, 1, 2)]
    assert found[0][1].window.upper == 50
    assert [str(error).split(":")[0] for error in refused] == [str(tmp_path / "c.png")]
    files = PictureFiles([place for place, _ in found])
    assert np.array_equal(files[2], COLOR)
    assert len(files) == 3


def test_no_two_results_have_one_name() -> None:
    paths = ["a/x.png", "a/x.jpg", "b/x.png", "a/y.nii.gz", "c/Z.png", "d/z.png", "e/a/x.png"]
    places = [*(Place(Path(path), 0, 1) for path in paths), Place(Path("cine.dcm"), 7, 12)]
    names = result_names(places)
    assert names == ["a_x_png", "x_jpg", "b_x_png", "y", "c_Z_png", "d_z_png", "a_x_png_2", "cine_0007"]


@pytest.mark.parametrize("highest", [1, 255, 256, 65535])
def test_label_images_are_read_back_by_others(tmp_path: Path, highest: int) -> None:
    labels = np.zeros((7, 5), np.int32)
    labels[2:5, 1:4] = highest
    write_labels(tmp_path / "a.png", labels)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.png")))
    assert np.array_equal(found, labels)
    assert found.dtype == (np.uint8 if highest < 256 else np.uint16)
    with pytest.raises(VolumeError, match="use 0 to 65535"):
        write_labels(tmp_path / "a.png", labels - 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", ["a.bmp", "a.jpg", "a.png", "a.tif", "pages.tif"])
@pytest.mark.parametrize("colors", [False, True])
def test_what_is_cut_short_anywhere_is_refused(tmp_path: Path, name: str, colors: bool) -> None:
    array = COLOR if colors else GRAY
    array = np.stack([array, array]) if name == "pages.tif" else array
    path = save(tmp_path / name, array, colors)
    raw, whole = path.read_bytes(), [one.array for one in read_pictures(path)]
    for length in (*range(60, len(raw), 41), len(raw) - 1):
        path.write_bytes(raw[:length])
        try:
            found = [one.array for one in read_pictures(path)]
        except VolumeError:
            continue
        assert np.array_equal(found, whole)  # only what says nothing is missing


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_pages_of_16_bits_that_are_cut_short(tmp_path: Path, byteorder: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    path, pages = tmp_path / "a.tif", RNG.integers(0, 60000, (3, 12, 20), dtype=np.uint16)
    tifffile.imwrite(path, pages, photometric="minisblack", byteorder=byteorder)
    assert np.array_equal([one.array for one in read_pictures(path)], pages)
    raw = path.read_bytes()
    for length in range(60, len(raw) - 40, 41):
        path.write_bytes(raw[:length])
        with pytest.raises(VolumeError):
            read_pictures(path)
