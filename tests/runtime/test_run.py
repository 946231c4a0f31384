"""The command ``efficientps-d2-run``."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from panopticapi.utils import rgb2id
from PIL import Image
from small_network import CATEGORIES, write_small_network

from efficientps_d2_runtime import coco, run


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The current folder holds a network and three images."""
    write_small_network(tmp_path / "small.onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    image = np.zeros((30, 50, 3), dtype=np.uint8)
    image[:8, :12, 0] = 255
    for name in ("a.png", "b.png", "c.jpg"):
        Image.fromarray(image).save(tmp_path / "images" / name)
    return tmp_path


def test_images_become_drawings_and_coco(world, capsys):
    assert run.main(["small.onnx", "images", "--output", "drawn", "--save-json"]) == 0
    names = sorted(file.name for file in (world / "drawn").iterdir())
    assert names == ["a.png", "b.png", "c.jpg", "panoptic", "panoptic.json"]
    content = json.loads((world / "drawn" / "panoptic.json").read_text())
    assert content["categories"] == CATEGORIES and len(content["images"]) == 3
    first = content["annotations"][0]
    assert [s["category_id"] for s in first["segments_info"]] == [7, 26], "dataset ids"
    ids = rgb2id(np.asarray(Image.open(world / "drawn" / "panoptic" / first["file_name"])))
    assert (ids == 2).sum() == first["segments_info"][1]["area"] == 96
    assert "Wrote 3 of 3 images to drawn." in capsys.readouterr().out


def test_one_image_and_its_segments(world, capsys):
    assert run.main(["small.onnx", "images/a.png", "--output", "one.png"]) == 0
    assert "images/a.png: road 0.60, car 0.75." in capsys.readouterr().out
    assert Image.open("one.png").size == (1000, 600)


def test_bad_images_are_named_and_the_rest_goes_on(world, capsys):
    (world / "images" / "b.png").write_bytes(b"no image")
    assert run.main(["small.onnx", "images", "--output", "drawn"]) == 1
    captured = capsys.readouterr()
    assert "Skipped: images/b.png cannot be read as an image" in captured.err
    assert "Wrote 2 of 3 images" in captured.out
    assert not list((world / "drawn").glob("*.partial*"))


def test_turned_and_deep_images(world):
    """As ``efficientps-d2 predict`` reads them: upright, and of 16 bits the upper 8."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open("images/a.png").save("images/a.png", exif=exif)
    Image.fromarray(np.full((20, 40), 65535, np.uint16)).save("images/b.png")
    assert run.main(["small.onnx", "images", "--output", "drawn", "--save-json"]) == 0
    content = json.loads((world / "drawn" / "panoptic.json").read_text())
    assert (content["images"][0]["height"], content["images"][0]["width"]) == (50, 30)
    assert content["annotations"][1]["segments_info"][1]["area"] == 800


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["no.onnx", "images", "--output", "drawn"], "no.onnx is no file; give one that"),
        (["small.onnx", "nowhere", "--output", "drawn"], "No file is called nowhere"),
        (["small.onnx", "images", "--output", "a.png"], "Predicting 3 inputs needs a folder"),
        (
            ["images/a.png", "images", "--output", "drawn"],
            "images/a.png is an image; name the file of a network before the images",
        ),
        (["saved", "images", "--output", "x"], "saved is a saved model; write its file by effici"),
        (["saved/m.safetensors", "images", "--output", "x"], "export --format onnx --model saved."),
        (["empty", "images", "--output", "x"], "empty is a folder; name the file of a network fi"),
        (["gone.safetensors", "images", "--output", "x"], "gone.safetensors is no file"),
        (["no.onnx", "images/a.png", "--output", "t.txt"], "t.txt: a file that is there already"),
        (["no.onnx", "v.mp4", "--output", "x"], "v.mp4 is a video; give images, for videos are"),
        (["no.onnx", "images", "--output", "v.mp4/x"], "--output v.mp4/x: v.mp4 is a file where"),
        (["no.onnx", "images", "--output", "full"], "full/a.png is a folder where a file is need"),
        (["no.onnx", "images", "--output", "taken", "--save-json"], "taken/panoptic is a file wh"),
        (["no.onnx", "images", "--output", "other", "--save-json"], "that --save-json has not wr"),
    ],
)
def test_mistakes_are_one_sentence(world, capsys, arguments, told):
    for folder in ("saved", "empty"):
        (world / folder).mkdir()
    for name in ("v.mp4", "saved/m.safetensors", "saved/config.yaml", "t.txt"):
        (world / name).touch()
    (world / "full" / "a.png").mkdir(parents=True)
    (world / "other").mkdir()
    (world / "other" / "panoptic.json").write_text("{}")
    (world / "taken").mkdir()
    (world / "taken" / "panoptic").touch()
    assert run.main(arguments) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("Error: ") and told in line
    assert not (world / "drawn").exists()


@pytest.mark.parametrize("value", ["2", "-1"])
def test_a_threshold_is_a_probability(world, capsys, value):
    with pytest.raises(SystemExit):
        run.main(["small.onnx", "images", "--output", "x", "--confidence-threshold", value])
    assert "--confidence-threshold must be from 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-2"])
def test_threads_are_one_or_more(world, capsys, value):
    with pytest.raises(SystemExit):
        run.main(["small.onnx", "images", "--output", "x", "--threads", value])
    assert "--threads must be 1 or more; leave it out for" in capsys.readouterr().err
    assert run.main(["small.onnx", "images", "--output", "x", "--threads", "1"]) == 0


def test_a_video_among_images_is_skipped(world, capsys):
    (world / "images" / "d.mp4").touch()
    assert run.main(["small.onnx", "images/*", "--output", "drawn"]) == 1
    captured = capsys.readouterr()
    assert "Skipped: images/d.mp4 is a video; give images, for videos are predicted by" in (
        captured.err
    )
    assert "Wrote 3 of 4 images" in captured.out


def test_a_log_says_now_and_then_how_far_it_is(world, capsys, monkeypatch):
    """Every 30 s, and not at all in less."""
    assert run.main(["small.onnx", "images", "--output", "drawn"]) == 0
    assert capsys.readouterr().err == ""
    clock = iter((0, 0, 20, 40))  # the start, and before each image
    monkeypatch.setattr(run, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert run.main(["small.onnx", "images", "--output", "drawn"]) == 0
    assert capsys.readouterr().err == "2 of 3 images, 0:20 left\n"


@pytest.mark.parametrize("more", [[], ["--save-json"]])
def test_after_ctrl_c_it_says_what_is_there(world, capsys, monkeypatch, more):
    draw, drawn = run.Network.draw, []

    def interrupted(*arguments):
        if len(drawn) == 2:
            raise KeyboardInterrupt
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(run.Network, "draw", interrupted)
    assert run.main(["small.onnx", "images", "--output", "drawn", *more]) == 130
    another = ", and another --output, for panoptic.json lists the results of one command"
    assert capsys.readouterr().err == (
        "Stopped: 2 of 3 images are written to drawn, each of them whole; for the rest give those "
        f"from images/c.jpg on{another if more else ''}.\n"
    )
    files = [file for file in (world / "drawn").rglob("*") if file.is_file()]
    assert sorted(f.name for f in files if f.suffix == ".png") == sorted(
        ["a.png", "b.png"] * (2 if more else 1)
    )


def test_a_panoptic_png_is_whole_or_not_there(world, capsys, monkeypatch):
    """Also one that Ctrl-C meets half written."""

    def half(file, _):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(coco, "write_segment_ids", half)
    assert run.main(["small.onnx", "images", "--output", "drawn", "--save-json"]) == 130
    assert capsys.readouterr().err.startswith("Stopped: no image was written yet; the same command")
    assert list((world / "drawn" / "panoptic").iterdir()) == []
    assert json.loads((world / "drawn" / "panoptic.json").read_text())["annotations"] == []
