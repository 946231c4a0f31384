"""Models as workers get them: from files alone, with the settings of the command."""

import pickle
import pickletools
from pathlib import Path

import numpy as np
import pytest
from batch_stub import write_images
from small_network import write_small_network

from efficientps_d2 import InputError, load_predictor
from efficientps_d2.prediction.batch_models import BatchModel, onnx_model, pytorch_model
from efficientps_d2_runtime.images import IMAGE_SUFFIXES


def loaded(model: BatchModel, folder: Path):
    """As a worker loads it, on another machine."""
    folder.mkdir()
    for name, content in model.files.items():
        (folder / name).write_bytes(content)
    return pickle.loads(pickle.dumps(model.load))(1, False, folder)


def test_a_saved_model_predicts_as_its_predictor(model_folder, tmp_path):
    model = pytorch_model(model_folder)
    worker = loaded(model, tmp_path / "copy")
    assert worker.categories == model.categories and model.suffixes == IMAGE_SUFFIXES
    write_images(tmp_path / "photos", 2, (64, 96))
    files = sorted((tmp_path / "photos").iterdir())
    found = worker.predict([worker.read(file) for file in files])
    for prediction, expected in zip(found, load_predictor(model_folder)(files), strict=True):
        assert (prediction.panoptic_seg == expected.panoptic_seg).all()
        assert prediction.segments == expected.segments and len(expected.segments) > 2


def test_what_results_depend_on(model_folder, tmp_path):
    plain = pytorch_model(model_folder).about
    assert pytorch_model(model_folder).about == plain
    assert pytorch_model(model_folder, threshold=0.9).about != plain
    assert pytorch_model(model_folder, tile=64).about != plain
    (model_folder / "config.yaml").open("a").write("# changed\n")
    assert pytorch_model(model_folder).about["sha256"] != plain["sha256"]


def test_the_threshold_and_tiles_reach_the_model(model_folder, tmp_path):
    strict = loaded(pytorch_model(model_folder, threshold=1.0), tmp_path / "strict")
    tiled = loaded(pytorch_model(model_folder, tile=64), tmp_path / "tiled")
    image = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    assert not any(s.isthing for s in strict.predict([image])[0].segments)
    assert tiled.predictor.tile == 64 and len(tiled.predict([image])) == 1


def test_boxes_that_the_fusion_leaves_out_are_not_computed(model_folder, tmp_path):
    fusion = "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH"
    for name, overrides in (("plain", []), ("given", [fusion, "0.7"])):
        cfg = loaded(
            pytorch_model(model_folder, overrides=overrides), tmp_path / name
        ).predictor.cfg
        of_fusion = cfg.MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH
        assert of_fusion == cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST
    assert of_fusion == 0.7


def test_who_asks_for_the_cpu_gets_it(model_folder):
    assert pytorch_model(model_folder).uses_gpu
    assert not pytorch_model(model_folder, overrides=["MODEL.DEVICE", "cpu"]).uses_gpu


def test_a_network_in_a_file_needs_no_pytorch(tmp_path):
    model = onnx_model(write_small_network(tmp_path / "model.onnx"), threshold=0.9)
    names = {a for _, a, _ in pickletools.genops(pickle.dumps(model.load)) if isinstance(a, str)}
    assert "efficientps_d2_runtime.batch.networks" in names
    assert not any(name.split(".")[0] in ("efficientps_d2", "torch") for name in names)
    worker = loaded(model, tmp_path / "copy")
    red = np.full((4, 6, 3), (200, 0, 0), dtype=np.uint8)
    (prediction,) = worker.predict([red])
    assert [s.name for s in prediction.segments] == ["road", "car"]
    assert prediction.segments[1].area == 0  # its score of 0.75 is below the threshold


def test_mistakes(tmp_path):
    with pytest.raises(InputError, match="no.onnx is no file"):
        onnx_model(tmp_path / "no.onnx")
    with pytest.raises(InputError, match="does not exist; give the folder of a saved model"):
        pytorch_model(tmp_path / "no")
