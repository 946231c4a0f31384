"""Where efficientps-d2 predict writes, and what it refuses to replace."""

import json

import numpy as np
from PIL import Image
from project import run_verb
from test_predict_video import write_video

from efficientps_d2 import load_predictor


def test_nothing_of_the_users_is_replaced(model_folder, pictures, capsys):
    before = (pictures / "a.jpg").read_bytes()
    arguments = ["--model", str(model_folder), "--output", str(pictures)]
    assert run_verb("predict", *arguments, "--input", str(pictures / "a.jpg")) == 1
    write_video(pictures / "v.mp4", 2)
    video = (pictures / "v.mp4").read_bytes()
    assert run_verb("predict", *arguments, "--video-input", str(pictures / "v.mp4")) == 1
    assert capsys.readouterr().err.count("The result would replace") == 2
    assert (pictures / "a.jpg").read_bytes() == before and (
        pictures / "v.mp4"
    ).read_bytes() == video


def test_a_ground_truth_is_not_replaced_by_predictions(model_folder, toy, tmp_path, capsys):
    """A dataset has the same names, panoptic/ and panoptic.json; one's own results go."""
    demo_arguments = ["--model", str(model_folder), "--save-json"]
    data = tmp_path / "toy"
    before = {file: file.read_bytes() for file in data.rglob("*") if file.is_file()}
    images = ["--input", str(data / "images" / "sub" / "*")]
    assert run_verb("predict", *demo_arguments, *images, "--output", str(data)) == 1
    assert "that --save-json has not written; give another --output" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in data.rglob("*") if file.is_file()} == before
    output = ["--output", str(tmp_path / "out")]
    assert run_verb("predict", *demo_arguments, *images, *output) == 0
    assert run_verb("predict", *demo_arguments, *images, *output) == 0
    mine = ["--input", str(tmp_path / "out" / "panoptic" / "*.png")]
    assert run_verb("predict", *demo_arguments, *mine, *output) == 1
    assert "The result would replace" in capsys.readouterr().err


def test_strips(model_folder, tmp_path):
    """Detectron2 cannot draw masks two pixels wide; the rest of a batch goes on."""
    for name, size in (("a.png", (300, 2)), ("b.png", (2, 300)), ("c.png", (1, 1))):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / name)
    arguments = ["--model", str(model_folder), "--confidence-threshold", "0", "--task", "all"]
    arguments += ["--input", str(tmp_path / "*.png"), "--output", str(tmp_path / "out")]
    assert run_verb("predict", *arguments) == 0
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_what_cannot_be_written_is_said(model_folder, pictures, tmp_path, capsys):
    (tmp_path / "out" / "a.jpg").mkdir(parents=True)
    arguments = ["--model", str(model_folder), "--output", str(tmp_path / "out")]
    assert run_verb("predict", *arguments, "--input", str(pictures / "a.jpg")) == 1
    write_video(tmp_path / "v.mp4", 1)
    (tmp_path / "out" / "v.mp4").mkdir()
    assert run_verb("predict", *arguments, "--video-input", str(tmp_path / "v.mp4")) == 1
    text = capsys.readouterr()
    for name in ("a.jpg", "v.mp4"):
        assert f"/{name} is a folder where a file is needed; remove it, or give another" in text.err
    assert "Wrote" not in text.out


def test_names_with_brackets(model_folder, pictures, tmp_path):
    (pictures / "a.jpg").rename(pictures / "a[1].jpg")
    arguments = ["--model", str(model_folder), "--output", str(tmp_path / "out")]
    assert run_verb("predict", *[*arguments, "--input", str(pictures / "a[1].jpg")]) == 0
    assert (tmp_path / "out" / "a[1].jpg").is_file()


def test_tiles(model_folder, pictures, tmp_path, monkeypatch, capsys):
    """As of a predictor with tiles, and not as without; for images of any size."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    image, output = pictures / "a.jpg", tmp_path / "out"
    assert run_verb("predict", "--model", model_folder, "--output", output, image) == 1
    assert "a.jpg cannot be read as an image (it has more than" in capsys.readouterr().err
    keen = ("--model", model_folder, "--confidence-threshold", "0", "--tile", "64", "--save-json")
    assert run_verb("predict", *keen, "--output", output, image) == 0
    (annotation,) = json.loads((output / "panoptic.json").read_text())["annotations"]
    areas = [segment["area"] for segment in annotation["segments_info"]]
    tiled, whole = (load_predictor(model_folder, "cpu", tile=tile)(image) for tile in (64, 0))
    assert areas == [segment.area for segment in tiled.segments]
    assert areas != [segment.area for segment in whole.segments]
