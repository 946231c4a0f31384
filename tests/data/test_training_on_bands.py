"""Images of bands from a folder to a trained model: mapper, check, statistics, commands."""

import numpy as np
import pytest
import tifffile
import torch
from checker import check
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image
from project import KEEN, Refused, call_verb, run_verb
from scenes import write_band_dataset

from efficientps_d2 import save_model
from efficientps_d2.config.loading import load_config
from efficientps_d2.data.bands import ARRAY_SUFFIXES, read_bands
from efficientps_d2.data.checks.dataset import check_dataset
from efficientps_d2.data.checks.listing import find_dataset, read_listing
from efficientps_d2.data.checks.suggest import _for_bands
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.data.dataset_mapper import EvaluationMapper, PanopticDatasetMapper
from efficientps_d2.engine.auto_values import fill_auto
from efficientps_d2.prediction.predictor import load_predictor
from efficientps_d2_cli import predict
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.paths import expand


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
    with pytest.raises(InputError, match="has 5 bands, but the network takes 4 .MODEL"):
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
    with pytest.raises(InputError, match="An image has 3 bands, but the network takes 5"):
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


def test_a_config_for_photographs_says_what_bands_need(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    write_band_dataset(tmp_path / "datasets" / "arrays" / "train")
    names = ["DATASETS.TRAIN", "('arrays_train',)", "DATASETS.TEST", "('arrays_train',)"]
    options = [*names, "MODEL.DEVICE", "cpu", "OUTPUT_DIR", tmp_path / "run"]
    with pytest.raises(Refused, match="npy is an array: give a --config-file with INPUT.FORMAT B"):
        call_verb("train", "--config-file", "efficientps_custom", *options)
    with pytest.raises(Refused, match="SHOWN_BANDS is .2, 1, 7., but images have the bands 0 to 4"):
        shown = ["INPUT.SHOWN_BANDS", "(2, 1, 7)"]
        call_verb("train", "--config-file", "efficientps_bands", *options, *shown)
    call_verb("check", tmp_path / "datasets" / "arrays" / "train")  # by the config of bands


def untrained(folder, count, bands, tiny_config):
    """The folder of a saved model of so many bands."""
    overrides = ["MODEL.PIXEL_MEAN", [0.0] * count, "MODEL.PIXEL_STD", [99.0] * count, *KEEN]
    cfg = tiny_config(bands, *overrides, config="efficientps_bands")
    fill_auto(cfg)
    cfg = with_class_counts(cfg)
    return save_model(folder, build_model(cfg), cfg, MetadataCatalog.get(bands))


def test_more_bands_than_rows(tmp_path, bands, tiny_config):
    """What was read has its bands last; nothing moves them a second time."""
    predictor = load_predictor(untrained(tmp_path / "model", 200, bands, tiny_config))
    file = tmp_path / "a.npy"
    np.save(file, np.random.default_rng(0).normal(0, 99, (200, 128, 256)))
    image = predictor.read(file)
    assert image.shape == (128, 256, 200)
    found, expected = predictor(image), predictor(file)
    assert (found.panoptic_seg == expected.panoptic_seg).all()
    assert found.panoptic_seg.shape == (128, 256)


def test_an_image_of_other_bands_is_skipped(tmp_path, bands, tiny_config, capsys):
    folder = untrained(tmp_path / "model", 5, bands, tiny_config)
    files = [DatasetCatalog.get(bands)[0]["file_name"], tmp_path / "rgb.png"]
    Image.new("RGB", (64, 48)).save(files[1])
    assert run_verb("predict", "--model", folder, *files, "--output", tmp_path / "drawn") == 1
    captured = capsys.readouterr()
    assert (
        "Skipped:" in captured.err
        and "rgb.png has 3 bands, but the network takes 5" in captured.err
    )
    assert "Wrote 1 of 2 images" in captured.out
