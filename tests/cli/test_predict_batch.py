"""Mistakes of predict-batch that show before anything is begun."""

import importlib.util
from argparse import Namespace
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from project import run_verb
from small_network import write_small_network

from efficientps_d2_cli import predict_batch
from efficientps_d2_runtime.batch.output import Manifest, Output


@pytest.fixture
def run(tmp_path, capsys):
    write_small_network(tmp_path / "model.onnx")
    (tmp_path / "photos").mkdir()

    def run(*arguments) -> tuple[int, str]:
        try:
            status = run_verb("predict-batch", *arguments)
        except SystemExit as error:
            status = error.code
        return status, capsys.readouterr().err.strip().splitlines()[-1]

    return run


def test_mistakes_of_flags(run, tmp_path):
    both = ("--input", tmp_path / "photos", "--output", tmp_path / "out")
    status, said = run(*both, "--runtime", "onnx")
    assert status == 2 and "--runtime onnx needs --model FILE.onnx" in said
    onnx = ("--runtime", "onnx", "--model", tmp_path / "model.onnx")
    for flags, named in (
        (("--tile", 64), "--tile"),
        (("--batch-size", 2), "--batch-size"),
        (("--precision", "float16"), "--precision"),
        (("--opts", "INPUT.MIN_SIZE_TEST", 64), "--opts"),
    ):
        status, said = run(*both, *onnx, *flags)
        assert status == 2 and f"{named} is for --runtime pytorch" in said
    status, said = run(*both, "--confidence-threshold", 2)
    assert status == 2 and "--confidence-threshold must be from 0 to 1" in said
    status, said = run("--input", tmp_path / "photos")
    assert status == 2 and "give --output, a folder for the results" in said
    for images in ((), ("a.png", "b.png"), ("--input", "a.png", "b.png")):
        status, said = run(*images, "--output", tmp_path / "out")
        assert status == 2 and "give --input once: a folder, Parquet, or a pattern" in said
    status, said = run("--inputs", tmp_path / "photos", "--output", tmp_path / "out")
    assert status == 2 and "did you mean --input?" in said
    for model in ("nuclei", tmp_path / "no.onnx"):
        status, said = run(*both, "--runtime", "onnx", "--model", model)
        assert status == 1 and f"{model} is no ONNX file; write one by efficientps-d2 exp" in said
    assert not (tmp_path / "out").exists()


def test_the_runtime_is_that_of_the_model(run, tmp_path):
    onnx, tile = tmp_path / "model.onnx", ("--tile", 64)
    both = ("--input", tmp_path / "photos", "--output", tmp_path / "out")
    said = "--tile is for --runtime pytorch"
    assert said in run(*both, "--model", onnx, *tile)[1]
    about = {"name": str(onnx), "sha256": "1"}
    manifest = Manifest(str(tmp_path / "photos"), "", 0, 1, about, [], "2026-11-30")
    Output(str(tmp_path / "out")).begin(manifest, b"")
    assert said in run(*both, *tile)[1]  # of the output


def test_an_output_goes_on_without_its_input(run, tmp_path):
    about = {"name": str(tmp_path / "model.onnx"), "sha256": "of another model"}
    manifest = Manifest(str(tmp_path / "photos"), "", 0, 1, about, [], "2026-11-30")
    Output(str(tmp_path / "out")).begin(manifest, b"")
    status, said = run("--output", tmp_path / "out")
    assert status == 1 and "out holds results of another model" in said


def test_an_output_goes_on_with_its_column(run, tmp_path):
    begun = Manifest("x.parquet", "pictures", 0, 1, {"name": "nuclei"}, [], "2026-11-30")
    Output(str(tmp_path / "out")).begin(begun, b"")
    args = Namespace(output=str(tmp_path / "out"), model=None, column="")
    assert predict_batch.take_from_output(args) == begun
    assert (args.column, args.model) == ("pictures", Path("nuclei"))


def test_mistakes_that_show_before_the_model_is_read(run, tmp_path):
    onnx = ("--runtime", "onnx", "--model", tmp_path / "model.onnx", "--output", tmp_path / "out")
    pq.write_table(pa.table({"x": ["a.png"]}), tmp_path / "x.parquet")
    write_onnx = "efficientps_d2.prediction.batch_models.onnx_model"
    with patch(write_onnx, side_effect=AssertionError):
        for source, told in (
            ("nothere", "nothere does not exist; give a folder, a pattern or a Parquet file."),
            (tmp_path / "x.parquet", "has none of the columns image, path,"),
        ):
            status, said = run("--input", source, *onnx)
            assert status == 1 and told in said


def test_without_images_or_cluster_nothing_is_left(run, tmp_path):
    onnx = ("--runtime", "onnx", "--model", tmp_path / "model.onnx")
    both = ("--input", tmp_path / "photos", "--output", tmp_path / "out")
    status, said = run(*both, *onnx)
    assert status == 1 and "photos holds no image; give a folder with images, or" in said
    (tmp_path / "photos" / "a.png").touch()
    status, said = run(*both, *onnx, "--address", "127.0.0.1:9")
    assert status == 1 and "--address 127.0.0.1:9 does not answer" in said
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    status, said = run("--input", tmp_path / "photos", "--output", tmp_path / "file", *onnx)
    assert status == 1 and "file is a file; give a folder as --output." in said


def test_without_ray(run, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "ray" else find(n))
    status, said = run("--input", tmp_path, "--output", tmp_path / "out")
    assert status == 1 and 'needs Ray; run: pip install -e runtime -e ".[ray]".' in said
