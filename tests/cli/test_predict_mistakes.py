"""What efficientps-d2 predict refuses before the work, and what it says after Ctrl-C."""

import json
from pathlib import Path

import av
import pytest
from PIL import Image
from project import ROOT, run_verb
from videos import at_rate, make_video

from efficientps_d2.prediction.painter import PredictionPainter
from efficientps_d2.utils.shipped import shipped_models

NO_MODEL = ("predict", "--model", "nothing")  # what is said instead comes before it is read


@pytest.fixture
def folder(pictures, monkeypatch):
    """The current folder: three images, a video, a file and a folder with a suffix."""
    monkeypatch.chdir(pictures)
    make_video(Path("v.mp4"), at_rate(10, 3))
    Path("file").touch()
    Path("folder.mp4").mkdir()
    for name in ("a.png", "c.png"):
        Image.open("a.jpg").save(name)
    return pictures


def test_without_a_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("a.jpg").touch()
    assert run_verb("predict", "a.jpg", "--output", "x") == 1
    assert "output/streets/model does not exist; run make demo" in capsys.readouterr().err
    config = str(ROOT / "configs" / "efficientps_streets.yaml")
    assert run_verb("predict", "--config-file", config, "a.jpg", "--output", "x") == 1
    assert "add --opts MODEL.WEIGHTS FILE" in capsys.readouterr().err
    for file in ("config.yaml", "model_final.pth"):  # as a training leaves them
        (tmp_path / file).write_text("MODEL: {WEIGHTS: ''}")
    assert run_verb("predict", "--config-file", "config.yaml", "a.jpg", "--output", "x") == 1
    assert "MODEL.WEIGHTS model_final.pth" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_verb("predict", "--save-json", "--webcam")


@pytest.mark.parametrize("name", ["Nuclei", "NUCLEI", "nuclie", "nuclei2"])
def test_a_model_that_comes_along_is_suggested(pictures, tmp_path, capsys, name):
    arguments = [pictures / "a.jpg", "--output", tmp_path / "out", "--model"]
    assert run_verb("predict", *arguments, name) == 1
    told = f"{name} does not exist; did you mean nuclei, which comes along?"
    assert told in capsys.readouterr().err
    assert run_verb("predict", *arguments, "elsewhere") == 1
    assert "elsewhere does not exist; give the folder of a saved" in capsys.readouterr().err
    assert run_verb("predict", *arguments, pictures / "a.jpg") == 1
    assert "a.jpg is a file; give the folder of a saved model." in capsys.readouterr().err


def test_models_that_come_along_are_those_of_their_folder():
    assert shipped_models() == [file.parent.name for file in ROOT.glob("models/*/config.yaml")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.png", "--output", "file"], "--output file: file is a file where a folder is needed"),
        (["a.png", "--output", "file/x.png"], "--output file/x.png: file is a file where a"),
        (["a.png", "--output", "file/x"], "--output file/x: file is a file where a folder is"),
        (["--video-input", "v.mp4", "--output", "file"], "--output file: file is a file where"),
        (["--video-input", "v.mp4", "--output", "file/x.mp4"], "--output file/x.mp4: file is a"),
        (["a.jpg", "--output", "out"], "--output out: out/a.jpg is a folder where a file is nee"),
        (["a.png", "--output", "out", "--save-json"], "--save-json: out/panoptic is a file where"),
        (
            ["--video-input", "v.mp4", "--output", "out", "--save-json"],
            "--save-json: out/panoptic is a file where a folder is needed; give another --output",
        ),
        (["a.png", "--output", "own", "--save-json"], "--save-json: own/panoptic.json is a folder"),
        (["a.png", "--output", "foreign", "--save-json"], "foreign holds panoptic or panoptic.js"),
        (["v.mp4", "--output", "x"], "v.mp4 is a video; give it by --video-input."),
        (["V.MOV", "--output", "x.png"], "V.MOV is a video; give it by --video-input."),
        (
            ["--video-input", "v.mp4", "a.png", "--output", "x"],
            "--video-input a.png is an image; give it without that flag.",
        ),
        (["--video-input", "still.gif", "--output", "x"], "--video-input still.gif is an image"),
    ],
)
def test_what_does_not_fit_is_said_before_the_model_is_read(folder, capsys, arguments, message):
    (folder / "V.MOV").touch()
    (folder / "out" / "a.jpg").mkdir(parents=True)
    (folder / "out" / "panoptic").touch()
    (folder / "own" / "panoptic.json").mkdir(parents=True)
    (folder / "foreign").mkdir()
    (folder / "foreign" / "panoptic.json").write_text("{}")
    Image.new("RGB", (8, 8)).save("still.gif")
    before = sorted(folder.rglob("*"))
    assert run_verb(*NO_MODEL, *arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {message}")
    assert sorted(folder.rglob("*")) == before


def test_what_moves_is_a_video(folder, capsys):
    """Whatever its name, as MJPEG and animated GIF."""
    frames = [Image.new("RGB", (48, 48), (60 * i, 0, 0)) for i in range(3)]
    frames[0].save("moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (8, 8)).save("one.mjpeg", format="JPEG")
    assert run_verb(*NO_MODEL, "--video-input", "moving.gif", "one.mjpeg", "--output", "x") == 1
    assert "Error: nothing does not exist" in capsys.readouterr().err, "they are no mistake"


def test_a_video_among_images_is_skipped(folder, model_folder, capsys):
    arguments = ("predict", "--model", model_folder, "--output", "out")
    assert run_verb(*arguments, "a.png", "v.mp4", "c.png") == 1
    text = capsys.readouterr()
    assert "Skipped: v.mp4 is a video; give it by --video-input." in text.err
    assert "Wrote 2 of 3 images" in text.out


def test_the_semantic_task_needs_a_semantic_head(folder, small_config, capsys, monkeypatch):
    """Which is said before weights are read."""
    cfg = small_config("mask_rcnn_streets")
    (folder / "config.yaml").write_text(cfg.dump())
    arguments = ("--config-file", "config.yaml", "--opts", "MODEL.WEIGHTS", "file")
    assert run_verb("predict", "a.png", "--output", "x", "--task", "semantic", *arguments) == 1
    told = "Error: --task semantic: MaskRCNN has no semantic head; give --task panoptic, instance"
    assert capsys.readouterr().err.startswith(told)
    assert not (folder / "x").exists()


def test_weights_of_imagenet_are_not_fetched_to_predict(folder, capsys):
    arguments = ("predict", "a.png", "--output", "x", "--config-file", "upsnet_r50_cityscapes")
    assert run_verb(*arguments) == 1
    told = "MODEL.WEIGHTS is of ImageNet, for a training to begin with; add --opts MODEL.WEIGHTS"
    assert told in capsys.readouterr().err


def interrupt_after(count: int, monkeypatch) -> None:
    draw, drawn = PredictionPainter.draw, []

    def interrupted(*arguments):
        if len(drawn) == count:
            raise KeyboardInterrupt
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr(PredictionPainter, "draw", interrupted)


@pytest.mark.parametrize("more", [(), ("--save-json",)])
def test_after_ctrl_c_it_says_which_images_are_there(
    folder, model_folder, monkeypatch, capsys, more
):
    interrupt_after(2, monkeypatch)
    images = ("a.png", "cut.jpg", "b.webp", "c.png")
    out = ("--model", model_folder, "--output", "out")
    assert run_verb("predict", *images, *out, *more) == 130
    told = capsys.readouterr().err.splitlines()[-1]
    another = ", and another --output, for panoptic.json lists the results of one command"
    assert told == (
        "Stopped: 2 of 4 images are written to out, each of them whole; for the rest give those "
        f"from c.png on{another if more else ''}."
    )
    assert {file.name for file in Path("out").glob("*.*g")} == {"a.png", "b.png"}
    if more:
        listed = json.loads(Path("out/panoptic.json").read_text())["annotations"]
        assert {a["file_name"] for a in listed} == {f.name for f in Path("out/panoptic").iterdir()}


def test_after_ctrl_c_before_the_first_image(folder, model_folder, monkeypatch, capsys):
    interrupt_after(0, monkeypatch)
    assert run_verb("predict", "a.png", "--model", model_folder, "--output", "out.png") == 130
    told = "Stopped: no image was written yet; the same command begins again.\n"
    assert capsys.readouterr().err.endswith(told)
    assert not list(folder.glob("out*"))


def test_after_ctrl_c_it_says_which_videos_are_there(folder, model_folder, monkeypatch, capsys):
    make_video(Path("w.mp4"), at_rate(10, 3))
    interrupt_after(4, monkeypatch)
    arguments = ("--model", model_folder, "--output", "out", "--video-input", "v.mp4", "w.mp4")
    assert run_verb("predict", *arguments) == 130
    assert capsys.readouterr().err.endswith(
        "Stopped: 1 of 2 videos are done, and of w.mp4 there are the frames so far; each video "
        "begins again, so give those from w.mp4 on.\n"
    )
    for name, count in (("v", 3), ("w", 1)):
        with av.open(f"out/{name}.mp4") as video:
            assert sum(1 for _ in video.decode(video=0)) == count
