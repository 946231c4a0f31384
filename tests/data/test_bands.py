"""Images of any number of bands, from their files to a trained model and its drawings."""

import cv2
import numpy as np
import pytest
import tifffile
import torch
from checker import check
from detectron2.data import DatasetCatalog
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from project import KEEN, Refused, call_verb
from scenes import write_band_dataset

from efficientps_d2.config.loading import load_config
from efficientps_d2.data.augmentation import BandJitter
from efficientps_d2.data.bands import ARRAY_SUFFIXES, image_tensor, read_bands, show
from efficientps_d2.data.checks.dataset import check_dataset
from efficientps_d2.data.checks.listing import find_dataset, read_listing
from efficientps_d2.data.checks.suggest import _for_bands
from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper
from efficientps_d2.prediction.predictor import load_predictor
from efficientps_d2.utils.resizing import resize_bands
from efficientps_d2_cli import predict
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.paths import expand

TYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
@pytest.mark.parametrize("dtype", TYPES)
@settings(max_examples=10)
@given(data=st.data())
def test_bands_come_back_from_both_orders(tmp_path_factory, suffix, dtype, data):
    height, width = data.draw(st.integers(9, 12)), data.draw(st.integers(9, 12))
    bands = data.draw(st.integers(2, 8))
    low, high = (0, 250) if dtype is np.uint8 else (0, 3000)
    pixels = data.draw(arrays(dtype, (height, width, bands), elements=st.integers(low, high)))
    folder = tmp_path_factory.mktemp("bands")
    orders = {"contig": pixels, "separate": pixels.transpose(2, 0, 1)}
    for planar, array in orders.items():
        file = folder / f"{planar}{suffix}"
        if suffix == ".npy":
            np.save(file, array)
        else:
            tifffile.imwrite(file, array, photometric="minisblack", planarconfig=planar)
        found = read_bands(file)
        assert found.dtype == np.float32 and (found == pixels).all()


def test_photographs_have_the_bands_of_their_files(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 255, (8, 9, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(rgba[:, :, 0].astype(np.uint16) * 200).save(tmp_path / "b.png")
    Image.fromarray(rgba[:, :, :3]).convert("P").save(tmp_path / "c.png")
    tifffile.imwrite(tmp_path / "pages.tif", rgba.transpose(2, 0, 1)[:, None].repeat(3, 1)[:, 0])
    assert (read_bands(tmp_path / "a.png") == rgba).all()
    assert (read_bands(tmp_path / "b.png")[:, :, 0] == 200.0 * rgba[:, :, 0]).all()
    assert read_bands(tmp_path / "c.png").shape == (8, 9, 3)
    assert (read_bands(tmp_path / "pages.tif") == rgba).all()


def test_no_data_is_nan(tmp_path):
    pixels = np.full((8, 9, 4), 5, np.int16)
    pixels[2, 3, 1] = -9999
    tag = (42113, "s", 0, "-9999", False)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extratags=[tag])
    found = read_bands(tmp_path / "a.tif")
    assert np.argwhere(np.isnan(found)).tolist() == [[2, 3, 1]]
    np.save(tmp_path / "b.npy", np.where(pixels < 0, np.inf, pixels))
    assert np.argwhere(np.isnan(read_bands(tmp_path / "b.npy"))).tolist() == [[2, 3, 1]]


@pytest.mark.parametrize(
    "array, sentence",
    [
        (np.zeros((2, 3, 4, 5)), "has the shape .2, 3, 4, 5.; store .height, width, bands."),
        (np.zeros(7), "has the shape"),
        (np.zeros((0, 3, 2)), "has the shape"),
        (np.zeros((9, 9, 2), complex), "holds values of type complex128; store numbers"),
        (np.full((9, 9), "x"), "holds values of type <U1; store numbers"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, sentence):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=f"a.npy {sentence}"):
        read_bands(tmp_path / "a.npy")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_bands(tmp_path / "a.npy")


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_resizing_is_that_of_pillow_for_each_band(data):
    shape = data.draw(array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=12))
    image = data.draw(arrays(np.float32, shape, elements=st.floats(-100, 100, width=32)))
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    found = resize_bands(image, (height, width))
    for band in range(shape[2]):
        expected = Image.fromarray(image[:, :, band]).resize((width, height), Image.BILINEAR)
        assert np.allclose(found[:, :, band], np.asarray(expected), atol=1e-3)


def test_pixels_without_data_do_not_spread_or_pull():
    image = np.full((20, 30, 2), 7, np.float32)
    image[5:7, 5:7, 0] = np.nan
    image[:, 15:, 1] = np.nan
    found = resize_bands(image, (10, 15))
    assert np.allclose(found[np.isfinite(found)], 7)
    assert np.isnan(found[:, 8:, 1]).all() and np.isfinite(found[:, :7, 1]).all()
    enlarged = resize_bands(image, (40, 60))
    assert np.isnan(enlarged[:, :, 0]).sum() == 16
    tensor = image_tensor(enlarged, [3.0, 4.0])
    assert tensor[0].unique().tolist() == [3, 7] and tensor[1].unique().tolist() == [4, 7]


def test_jitter_changes_all_bands_alike_and_no_ground_truth():
    image = np.random.default_rng(0).normal(5, 2, (6, 7, 4)).astype(np.float32)
    transform = BandJitter([5.0] * 4, [2.0] * 4).get_transform(image)
    changed = transform.apply_image(image)
    slope = (changed[1:] - changed[:-1]) / (image[1:] - image[:-1])
    assert changed.dtype == np.float32 and np.allclose(slope, slope[0, 0, 0], rtol=1e-3)
    assert not np.allclose(changed, image)
    labels = np.arange(6)
    assert transform.apply_segmentation(labels) is labels


def test_drawing_stretches_each_band_and_leaves_holes_black():
    image = np.linspace(-500, 9000, 400, dtype=np.float32).reshape(20, 20, 1)
    image = np.dstack([image, -image, np.full_like(image, 3)])
    image[0, 0] = np.nan
    drawn = show(image, (0, 1, 9))
    assert drawn.dtype == np.uint8 and drawn.shape == (20, 20, 3)
    assert drawn[-1, -1, 0] == 255 and drawn[-1, -1, 1] == 0 and (drawn[0, 0] == 0).all()


@pytest.fixture
def bands(tmp_path, register):
    """A registered dataset of images of five bands."""
    return register("bands", write_band_dataset(tmp_path / "bands"))


def test_mapper_gives_all_bands_in_the_orientation_of_the_ground_truth(bands, tiny_config):
    """The fifth band is -3 times the first over 20; a pixel without data is the mean."""
    mean = [100.0, 0, 0, 50, -7]
    overrides = ["MODEL.PIXEL_MEAN", mean, "MODEL.PIXEL_STD", [1.0] * 5]
    cfg = tiny_config(bands, *overrides, config="efficientps_bands")
    record = DatasetCatalog.get(bands)[0]
    file = record["file_name"]
    pixels = np.load(file).astype(np.float32)
    pixels[3, :4] = np.nan
    np.save(file, pixels)
    seen = EvaluationMapper(cfg)(record)["image"]
    assert seen.dtype == torch.float32 and seen.shape[0] == 5
    mapper = PanopticDatasetMapper(cfg)
    mapper.augmentations.augs = []
    sample = mapper(record)
    assert (sample["image"][3, :4] == 50).all()
    assert torch.allclose(sample["image"][4], -3 * sample["image"][0] / 20)


def test_images_of_other_bands_than_the_model_are_refused(bands, tiny_config):
    overrides = ["MODEL.PIXEL_MEAN", [0.0] * 4, "MODEL.PIXEL_STD", [1.0] * 4]
    cfg = tiny_config(bands, *overrides, config="efficientps_bands")
    with pytest.raises(InputError, match="has 5 bands, but MODEL.PIXEL_MEAN has 4; give images"):
        PanopticDatasetMapper(cfg)(DatasetCatalog.get(bands)[0])


def found_kinds(folder) -> dict:
    result = check_dataset(read_listing(find_dataset(str(folder))), image_format="BANDS")
    return {problem.kind: problem.text for problem in result.problems}


def test_check_of_bands(tmp_path):
    folder = write_band_dataset(tmp_path / "bands", ".tif")
    assert found_kinds(folder) == {}
    files = sorted((folder / "images").glob("*.tif"))
    pixels = read_bands(files[0])
    pixels[:, :40, 2] = np.nan
    tifffile.imwrite(files[0], pixels, photometric="minisblack")
    tifffile.imwrite(files[1], pixels[:, :, :4], photometric="minisblack")
    tifffile.imwrite(files[2], np.zeros((96, 160, 3), np.complex64), photometric="minisblack")
    kinds = found_kinds(folder)
    assert kinds.keys() == {"pixels without data", "number of bands", "unusable bands"}
    assert "has 4 bands, but the first image 5" in kinds["number of bands"]
    assert "holds values of type complex64" in kinds["unusable bands"]


def test_statistics_are_of_the_pixels_with_data(tmp_path):
    folder = write_band_dataset(tmp_path / "bands")
    pixels = [np.load(f) for f in sorted((folder / "images").glob("*.npy"))]
    result = check_dataset(read_listing(find_dataset(str(folder))), image_format="BANDS")
    counts, mean, squares = result.statistics.bands
    everything = np.concatenate([p.reshape(5, -1) for p in pixels], axis=1).astype(float)
    assert np.allclose(mean, everything.mean(axis=1))
    assert np.allclose(squares / counts, everything.var(axis=1))
    assert check(folder)[1].statistics.bands is None  # of photographs nobody asks


def test_arrays_of_a_folder_can_be_predicted(tmp_path):
    """Where no image is: beside images, arrays are rather their features or labels."""
    assert predict.ARRAY_SUFFIXES == ARRAY_SUFFIXES
    (tmp_path / "a.npy").write_bytes(b"")
    assert expand([str(tmp_path)], ARRAY_SUFFIXES) == [tmp_path / "a.npy"]
    with pytest.raises(InputError, match="holds no image"):
        expand([str(tmp_path)])
    (tmp_path / "b.png").write_bytes(b"")
    assert expand([str(tmp_path)], ARRAY_SUFFIXES) == [tmp_path / "b.png"]


def test_from_a_folder_of_bands_to_a_report(tmp_path, monkeypatch, capsys):
    """Check, train with "auto", evaluate with TTA, predict, report and export, as a user does."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    monkeypatch.chdir(tmp_path)
    folder = write_band_dataset(tmp_path / "datasets" / "sat" / "train", ".tif")
    call_verb("check", folder, "--config-file", "efficientps_bands", "--draw", 1, "--suggest")
    out = capsys.readouterr().out
    assert "Errors: 0, warnings: 0." in out and "MODEL.PIXEL_MEAN" in out and "of 5 bands" in out

    run = tmp_path / "run"
    small = [
        *("MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.DEVICE", "cpu", "OUTPUT_DIR", run),
        *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 16),
        *("MODEL.ROI_BOX_HEAD.FC_DIM", 32, "MODEL.ROI_MASK_HEAD.CONV_DIM", 16),
        *("DATASETS.TRAIN", "('sat_train',)", "DATASETS.TEST", "('sat_train',)"),
        *("SOLVER.MAX_ITER", 2, "SOLVER.IMS_PER_BATCH", 2, "TEST.PICTURES", 1),
        *("INPUT.CROP.SIZE", "(64, 64)", "TEST.SAVE_PANOPTIC", True, *KEEN),
        *("TEST.AUG.ENABLED", True, "TEST.AUG.SCALES", "(0.5,)", "DATALOADER.NUM_WORKERS", 0),
        *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", 64),
    ]
    call_verb("train", "--config-file", "efficientps_bands", *small)
    cfg = load_config(str(run / "config.yaml"))
    assert len(cfg.MODEL.PIXEL_MEAN) == 5 and cfg.MODEL.PIXEL_MEAN[4] < 0 < cfg.MODEL.PIXEL_MEAN[0]
    assert list((run / "pictures").glob("*.png"))
    call_verb("report", run)

    images, drawn = folder / "images", tmp_path / "drawn"
    call_verb("predict", "--model", run / "model", images, "--output", drawn)
    drawn = sorted(drawn.iterdir())
    assert len(drawn) == 3 and np.asarray(Image.open(drawn[0])).std() > 0

    predictor = load_predictor(run / "model")
    first = sorted(images.iterdir())[0]
    from_file, from_array = predictor(first), predictor(read_bands(first))
    assert (from_file.panoptic_seg == from_array.panoptic_seg).all()
    with pytest.raises(InputError, match="An image has 3 bands, but MODEL.PIXEL_MEAN has 5"):
        predictor(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(Refused, match="INPUT.FORMAT is BANDS, but a whole network in ONNX takes"):
        call_verb("export", "--model", run / "model", "--format", "onnx")
    with pytest.raises(Refused, match="takes images of 5 bands, which the page cannot show"):
        call_verb("web", "--model", run / "model", "--port", 0)


def test_photographs_with_means_of_bands_are_refused(tiny_config, toy):
    with pytest.raises(InputError, match="PIXEL_MEAN has 5 numbers, but INPUT.FORMAT is RGB; give"):
        tiny_config(toy, "MODEL.PIXEL_MEAN", [0.0] * 5)
    with pytest.raises(InputError, match="PIXEL_MEAN has 4 numbers and PIXEL_STD 5; give one"):
        overrides = ["MODEL.PIXEL_MEAN", [0.0] * 4, "MODEL.PIXEL_STD", [1.0] * 5]
        tiny_config(toy, *overrides, config="efficientps_bands")


def test_means_are_rounded_as_finely_as_the_values_differ():
    """Pressure of 101325 +- 30 Pa would be off by most of a deviation in four digits."""
    bands = np.array([[1e4, 1e4], [101325.3, 0.00123456], [1e4 * 30.0**2, 1e4 * 1e-8]])
    mean, std = _for_bands(bands)
    assert mean.value == [101325.3, 0.0012346] and std.value == [30.0, 0.0001]


def test_16_bits_of_colours_are_kept(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (5, 6, 4), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels[:, :, [2, 1, 0, 3]])
    cv2.imwrite(str(tmp_path / "b.png"), pixels[:, :, [2, 1, 0]])
    assert (read_bands(tmp_path / "a.png") == pixels).all()
    assert (read_bands(tmp_path / "b.png") == pixels[:, :, :3]).all()


def test_files_of_several_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", np.zeros((4, 4)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(InputError, match="a.npy holds several arrays; store one"):
        read_bands(tmp_path / "a.npy")
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        for dtype in (np.uint8, np.uint8, np.float32):
            tiff.write(np.zeros((20, 20), dtype))
    with pytest.raises(InputError, match="a.tif has pages of one size but different types"):
        read_bands(tmp_path / "a.tif")
