"""efficientps-d2 predict as a user calls it; demo.py is the same."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from PIL import Image
from project import run_verb

from efficientps_d2 import InputError, load_predictor
from efficientps_d2.checkpoint.saved_model import metadata_of
from efficientps_d2_cli.main import make_parser
from efficientps_d2_cli.predict import _predictor
from efficientps_d2_runtime.coco import image_id


def test_bad_images_are_named_and_the_rest_goes_on(
    model_folder,
    pictures,
    tmp_path,
    capsys,
):
    output = tmp_path / "output"
    arguments = ["--model", str(model_folder), "--output", str(output), "--input"]
    assert run_verb("predict", *arguments, str(pictures / "*")) == 1
    assert {file.name for file in output.iterdir()} == {"a.jpg", "b.png"}
    text = capsys.readouterr()
    assert "Wrote 2 of 5 images" in text.out
    assert text.out.startswith(
        f"Model: {model_folder}/model.safetensors, EfficientPS for 4 classes (road,"
    )
    for name in ("folder.png", "empty.png", "cut.jpg"):
        assert f"{name} cannot be read as an image" in text.err
    assert run_verb("predict", *arguments, str(pictures / "a.jpg"), str(pictures / "b.*")) == 0
    capsys.readouterr()
    assert run_verb("predict", *arguments, str(pictures / "a.jpg")) == 0
    assert f"{pictures / 'a.jpg'}: " in capsys.readouterr().out
    nowhere = ("predict", "--model", "nothing", "--output")
    for wrong, told in (
        ((output, pictures / "c.jpg"), "No file is called"),
        ((output / "a.webp", pictures / "a.jpg"), ".jpg and .png can be written"),
        ((output, "--video-input", "none.mp4"), "none.mp4 is no file"),
    ):
        assert run_verb(*nowhere, *wrong) == 1
        assert told in capsys.readouterr().err, "before a model is loaded"


def test_names_in_any_encoding(model_folder, pictures, tmp_path, capsys):
    """And nobody waits for a pipe, which may never say anything."""
    folder = os.fsencode(tmp_path / "in")
    os.mkdir(folder)
    shutil.copy(pictures / "a.jpg", folder + b"/\xff\xfe.png")
    os.mkfifo(folder + b"/pipe.png")
    output = ["--output", tmp_path / "out", "--save-json"]
    files = [os.fsdecode(folder + name) for name in (b"/\xff\xfe.png", b"/pipe.png")]
    assert run_verb("predict", *files, "--model", model_folder, *output) == 1
    assert "pipe.png cannot be read as an image (it is no file)" in capsys.readouterr().err
    assert os.listdir(os.fsencode(tmp_path / "out" / "panoptic")) == [b"\xff\xfe.png"]
    content = json.loads((tmp_path / "out" / "panoptic.json").read_text())
    assert content["annotations"][0]["file_name"] == os.fsdecode(b"\xff\xfe.png")


def test_a_folder_gives_its_images(model_folder, pictures, tmp_path, capsys):
    (pictures / "folder.png").rmdir()
    (pictures / "notes.txt").touch()
    output = ["--model", model_folder, "--output", tmp_path / "out"]
    assert run_verb("predict", pictures, *output) == 1  # for two damaged ones
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a.jpg", "b.png"}
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run_verb("predict", empty, *output) == 1
    assert "empty holds no image; give" in capsys.readouterr().err
    (empty / ".thumbs").mkdir()
    (empty / ".thumbs" / "a.png").touch()
    (empty / "x" / "folder.png").mkdir(parents=True)
    assert run_verb("predict", empty, *output) == 1
    assert "empty holds no image; give" in capsys.readouterr().err
    (empty / "x" / "y").mkdir()
    (empty / "x" / "y" / "a.png").touch()
    assert run_verb("predict", empty, *output) == 1
    assert f"folders in it do; give these, such as {empty}/x/y, or" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic", "all"])
def test_tasks(model_folder, pictures, tmp_path, task):
    output = tmp_path / "result.png"
    arguments = ["--model", model_folder, "--output", output, "--task", task]
    image = pictures / "a.jpg"
    assert run_verb("predict", image, *arguments, "--confidence-threshold", 0) == 0
    drawn = cv2.imread(str(output))
    height, width = drawn.shape[:2]
    plain = cv2.resize(cv2.imread(str(pictures / "a.jpg")), (width, height))
    assert np.abs(drawn.astype(int) - plain).mean() > 5
    assert (width > 2.5 * height) == (task == "all")


def test_confidence_threshold(model_folder):
    def parsed(flags):
        return make_parser().parse_args(["predict", *flags])

    arguments = ["--model", str(model_folder), "--input", "a.jpg", "--confidence-threshold"]
    model = _predictor(parsed([*arguments, "0.75"])).model
    assert model.fusion.keywords["score_threshold"] == 0.75
    assert model.roi_heads.box_predictor.test_score_thresh == 0.75
    of_model = ["--opts", "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", "0.3"]
    model = _predictor(parsed([*arguments[:-1], *of_model])).model
    assert model.fusion.keywords["score_threshold"] == 0.3, "without the flag"
    assert model.roi_heads.box_predictor.test_score_thresh == 0.3, "no weaker ones are drawn"
    own = ["--opts", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.1"]
    model = _predictor(parsed([*arguments, "0.75", *own])).model
    assert model.fusion.keywords["score_threshold"] == 0.75
    assert model.roi_heads.box_predictor.test_score_thresh == 0.1, "--opts is more precise"


def test_json_is_scored_like_the_model(model_folder, toy, tmp_path, capsys):
    gt = tmp_path / "toy"
    content = json.loads((gt / "panoptic.json").read_text())
    for image, annotation in zip(content["images"], content["annotations"], strict=True):
        image["id"] = annotation["image_id"] = Path(image["file_name"]).stem
    (gt / "panoptic.json").write_text(json.dumps(content))
    output = tmp_path / "out"
    arguments = ["--model", str(model_folder), "--confidence-threshold", "0", "--save-json"]
    images = str(gt / "images" / "sub" / "*")
    assert run_verb("predict", *arguments, "--input", images, "--output", str(output)) == 0
    (record, *_) = DatasetCatalog.get(toy)
    expected = load_predictor(model_folder, "cpu")(record["file_name"])
    written = json.loads((output / "panoptic.json").read_text())
    width, height = Image.open(record["file_name"]).size
    sizes = {"file_name": Path(record["file_name"]).name, "height": height, "width": width}
    assert written["images"][0] == {"id": written["annotations"][0]["image_id"], **sizes}
    annotation = written["annotations"][0]
    assert [s["area"] for s in annotation["segments_info"]] == [s.area for s in expected.segments]
    scores = ["--gt", gt / "panoptic.json", "--gt-dir", gt / "panoptic"]
    scores += ["--pred", output / "panoptic.json", "--pred-dir", output / "panoptic"]
    capsys.readouterr()
    assert run_verb("score", *scores, "--processes", 1) == 0
    assert "| All" in capsys.readouterr().out


def test_ids_of_images():
    assert image_id(Path("val2017/000000000139.jpg")) == 139
    assert image_id(Path("bonn_000001_000019_leftImg8bit.png")) == "bonn_000001_000019"
    assert image_id(Path("photo.1.jpg")) == "photo.1" and image_id(Path("0042.png")) == "0042"


def test_the_config_of_a_saved_model(model_folder, pictures, tmp_path):
    arguments = ["--config-file", str(model_folder / "config.yaml"), "--output", str(tmp_path)]
    weights = ["--opts", "MODEL.WEIGHTS", str(model_folder / "model.safetensors")]
    assert run_verb("predict", *arguments, "--input", str(pictures / "b.webp"), *weights) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.DEVICE", "nonsense"], 'The device "nonsense" cannot be used'),
        (["MODEL.WEIGHTS", "x.pth"], "MODEL.WEIGHTS needs --config-file"),
        (["MODEL.TYPO", "1"], "there is no key MODEL.TYPO"),
        (["MODEL.BACKBONE.NAME", "typo"], "correct MODEL.BACKBONE.NAME"),
        (["MODEL.DEVICE"], "give pairs KEY VALUE"),
    ],
)
def test_options(model_folder, pictures, tmp_path, capsys, options, message):
    arguments = ["--model", str(model_folder), "--input", str(pictures / "a.jpg")]
    assert run_verb("predict", *arguments, "--output", str(tmp_path), "--opts", *options) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "a.jpg"], "There is no display for a window; give --output"),
        (["--input", "none*.jpg", "--output", "x"], "No file is called none*.jpg or fits it"),
        (
            ["--input", "a.jpg", "sub/a.jpg", "--output", "x"],
            "Some files would have results of the same name: a.jpg and sub/a.jpg. Predict them",
        ),
        (
            ["--input", "a.jpg", *(f"{i}/a.jpg" for i in range(3)), "--output", "x"],
            "Some files would have results of the same name: a.jpg and 0/a.jpg and 2 more. Predict",
        ),
        (
            ["--input", "a.jpg", "a.png", "b.jpg", "b.png", "--output", "x", "--save-json"],
            "Some files would have results of the same name: a.jpg and a.png; b.jpg and b.png. "
            "Predict them",
        ),
        (
            ["--input", "a.jpg", "--output", "x.png", "--save-json"],
            "--save-json needs a folder as --output, not the file x.png",
        ),
        (["--input", "a.jpg", "a.png", "--output", "x.png"], "Predicting 2 inputs needs a folder"),
        (["--input", "a.jpg", "--output", "x.webp"], "--output x.webp: .jpg and .png can be"),
        (["--video-input", "v.mp4", "--output", "x.avi"], "--output x.avi: of a video .mp4 is"),
        (["--input", "a.jpg", "--output", "x.txt"], "--output x.txt: .jpg and .png can be"),
        (["--input", "a.jpg", "--output", "x.mp4"], "--output x.mp4: .jpg and .png can be"),
        (["--input", "a.jpg", "--output", "a.jpg/x"], "--output a.jpg/x: a.jpg is a file where a"),
        (["--video-input", "none.mp4", "--output", "x"], "--video-input none.mp4 is no file"),
        (["--webcam"], "The camera has no frames"),
    ],
)
def test_mistakes_are_one_sentence(
    model_folder,
    pictures,
    monkeypatch,
    capsys,
    arguments,
    message,
):
    monkeypatch.chdir(pictures)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    copies = ("a.png", "b.jpg", "b.png", "v.mp4", "sub/a.jpg", "0/a.jpg", "1/a.jpg", "2/a.jpg")
    for copy in copies:
        (pictures / copy).parent.mkdir(exist_ok=True)
        (pictures / copy).write_bytes((pictures / "a.jpg").read_bytes())
    assert run_verb("predict", "--model", str(model_folder), *arguments) == 1
    assert f"Error: {message}" in capsys.readouterr().err


def test_a_config_without_its_data(model_folder):
    """Names come from the config, ids and colours are chosen."""
    cfg = load_predictor(model_folder, "cpu").cfg
    cfg.DATASETS.TEST = ("gone_val",)
    metadata = metadata_of(cfg)
    assert metadata.stuff_classes == ["road", "sky", "car", "person"]
    assert metadata.thing_dataset_id_to_contiguous_id == {2: 2, 3: 3}
    cfg.DATASETS.TEST = ("streets_val",)  # is here, but has other classes
    assert metadata_of(cfg).stuff_classes == ["road", "sky", "car", "person"]
    cfg.DATASETS.TEST = ("gone_val",)
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = []
    with pytest.raises(InputError, match="gone_val"):
        metadata_of(cfg)
