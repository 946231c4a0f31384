"""Images of an import are as the annotation tool showed them, for Detectron2 as well."""

import numpy as np
import pytest
from detectron2.data.detection_utils import read_image
from import_sources import import_all, labelme_shape, rectangle, write_labelme
from PIL import Image, ImageOps
from project import Refused
from scenes import write_dataset

import efficientps_d2.data.importers.run as panoptic_import
from efficientps_d2.data.dataset_mapper import read_pair
from efficientps_d2_runtime.coco import write_segment_ids
from efficientps_d2_runtime.images import read_rgb


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "mpo", "png", "webp", "tif", "lzw.tif"])
def test_turned_photos_are_written_upright(tmp_path, orientation, kind):
    """The annotation is about what the tool showed, which is the image turned as EXIF tells."""
    source, name = tmp_path / "source", "a.jpg" if kind == "mpo" else f"a.{kind}"
    source.mkdir()
    stored = np.zeros((40, 60, 3), dtype=np.uint8)
    stored[:16, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, options = Image.fromarray(stored), {"exif": exif}
    if kind == "mpo":  # a camera's JPEG with a small copy
        options.update(format="MPO", save_all=True, append_images=[image.resize((6, 4))])
    if kind == "lzw.tif":
        options["compression"] = "tiff_lzw"
    image.save(source / name, **options)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(source / name)))
    ys, xs = np.nonzero(upright[..., 0] > 128)
    bright = rectangle(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    write_labelme(source, [labelme_shape("car", bright)], name, size=upright.shape[:2])
    (gt,) = import_all("labelme", source).values()
    read = read_image(str(gt.file), "RGB")
    assert ((read[..., 0] > 128) == gt.objects("car")[0]).mean() > 0.99
    written = Image.open(gt.file)
    assert written.getexif().get(0x0112, 1) == 1
    if orientation == 1:
        assert gt.file.read_bytes() == (source / name).read_bytes()


def test_damaged_write_is_noticed(tmp_path, monkeypatch):
    """What was written is read back, and no dataset is left if it differs."""
    write_labelme(tmp_path / "source", [labelme_shape("car", rectangle(2, 2, 6, 8))])

    def damaged(file, ids):
        ids = ids.copy()
        ids[2, 2] = 0
        write_segment_ids(file, ids)

    monkeypatch.setattr(panoptic_import, "write_segment_ids", damaged)
    with pytest.raises(Refused, match="a.png does not hold what was written to it"):
        import_all("labelme", tmp_path / "source")
    assert [f.name for f in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "lzw.tif"])
def test_training_reads_turned_images_as_prediction_does(tmp_path, orientation, kind):
    """Pillow turns TIFFs by itself, Detectron2 turned them a second time."""
    stored = np.zeros((40, 60, 3), dtype=np.uint8)
    stored[:16, :16, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"compression": "tiff_lzw"} if kind == "lzw.tif" else {}
    Image.fromarray(stored).save(tmp_path / f"a.{kind}", exif=exif, **options)
    assert_read_alike(tmp_path, f"a.{kind}")
    upright = np.rot90(stored, {1: 0, 3: 2, 6: 3}[orientation])
    assert ((read_rgb(tmp_path / f"a.{kind}") > 128) == (upright > 128)).all()


@pytest.mark.parametrize("kind", ["png", "tif", "pgm"])
def test_training_reads_16_bits_as_prediction_does(tmp_path, kind):
    """The upper 8 bits, whatever else the image holds: 300 is 1, and not the white of 255."""
    values = np.array([[300, 65535], [0, 256]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{kind}")
    assert_read_alike(tmp_path, f"a.{kind}")
    assert read_rgb(tmp_path / f"a.{kind}")[..., 0].tolist() == [[1, 255], [0, 1]]


def assert_read_alike(folder, name):
    gt = write_dataset(folder / "data", count=1) / "panoptic" / "truth_0.png"
    record = {"file_name": str(folder / name), "pan_seg_file_name": str(gt)}
    expected = read_rgb(folder / name)
    assert (read_pair(record, "RGB")[0] == expected).all()
    assert (read_pair(record, "BGR")[0] == expected[:, :, ::-1]).all()
