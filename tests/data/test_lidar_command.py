"""`efficientps-d2 lidar`, and what it and `prepare` say of scans that lack something."""

import shutil

import numpy as np
import pytest
from PIL import Image
from project import KEEN, Refused, call_verb, run_verb
from published import write_semantic_kitti
from scenes import unregister

from efficientps_d2.data.datasets.semantic_kitti import RAW_IDS
from efficientps_d2.data.lidar.projection import WIDTH
from efficientps_d2.data.lidar.scans import read_point_labels, read_scan, write_point_labels


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    yield write_semantic_kitti(tmp_path / "source")
    for split in ("train", "val"):
        unregister(f"semantic_kitti_{split}")


def test_true_labels_score_100_in_each_class_that_occurs(dataset, tmp_path, capsys):
    """Labels of any network can be scored; the mean is over 19 classes, as on the server."""
    found = tmp_path / "found" / "sequences" / "08" / "predictions"
    found.mkdir(parents=True)
    shutil.copy(dataset / "dataset/sequences/08/labels/000000.label", found)
    call_verb("lidar", dataset, tmp_path / "found")
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    occurring = [name for name, values in rows.items() if values == ["100.0"] * 4]
    assert "car" in occurring and rows["bicycle"] == ["0.0"] * 4
    means = next(lines[i + 2] for i, line in enumerate(lines) if "PQ_dagger" in line).split()
    assert float(means[0]) == pytest.approx(100 * len(occurring) / 19, abs=0.1)


def test_a_model_labels_scans_for_the_server(dataset, tmp_path, capsys):
    """Prepare, train a step, label test scans and go on where it was stopped, score, draw."""
    run = tmp_path / "run"
    call_verb("prepare", "semantic_kitti", dataset, "--processes", 1)
    small = [
        *("MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.DEVICE", "cpu", "OUTPUT_DIR", run),
        *("MODEL.FPN.OUT_CHANNELS", 16, "MODEL.SEM_SEG_HEAD.CONVS_DIM", 16),
        *("MODEL.ROI_BOX_HEAD.FC_DIM", 32, "MODEL.ROI_MASK_HEAD.CONV_DIM", 16),
        *("SOLVER.MAX_ITER", 1, "SOLVER.IMS_PER_BATCH", 1, "DATALOADER.NUM_WORKERS", 0),
        *("INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", 64, *KEEN),
        *("INPUT.CROP.SIZE", "(64, 256)", "TEST.PICTURES", 1),
    ]
    call_verb("train", "--config-file", "efficientps_semantic_kitti", *small)
    picture = Image.open(next((run / "pictures").glob("*.png")))
    assert picture.size[0] == WIDTH  # the scan, the truth and the prediction, also from above

    model, found = ("--model", run / "model"), tmp_path / "found"
    call_verb("lidar", dataset, found, *model, "--sequences", 11)
    file = found / "sequences" / "11" / "predictions" / "000000.label"
    labels = read_point_labels(file)
    assert len(labels) == len(read_scan(dataset / "dataset/sequences/11/velodyne/000000.bin"))
    assert set((labels & 0xFFFF).tolist()) <= {0, *RAW_IDS}
    before = file.stat().st_mtime_ns
    capsys.readouterr()
    call_verb("lidar", dataset, found, *model, "--sequences", "08,11")
    out = capsys.readouterr().out
    assert "1 of 2 scans have labels already" in out and "PQ_dagger" in out
    assert file.stat().st_mtime_ns == before

    (found / "lidar.json").write_text('{"sha256": "of another"}')
    with pytest.raises(Refused, match="found has labels of another model; give another OUTPUT"):
        call_verb("lidar", dataset, found, *model)
    scan = dataset / "dataset/sequences/11/velodyne/000000.bin"
    with pytest.raises(Refused, match="--task semantic is not for scans such as .*000000.bin"):
        call_verb("predict", *model, scan, "--output", tmp_path / "drawn", "--task", "semantic")
    call_verb("predict", *model, scan, "--output", tmp_path / "drawn")
    assert Image.open(tmp_path / "drawn" / "000000.png").size[0] == WIDTH


def drop_sequence(root):
    shutil.rmtree(root / "05")


def drop_labels(root):
    (root / "05" / "labels" / "000000.label").unlink()


def cut_labels(root):
    file = root / "05" / "labels" / "000000.label"
    file.write_bytes(file.read_bytes()[:-4])


def relabel(root):
    file = root / "05" / "labels" / "000000.label"
    labels = read_point_labels(file).copy()
    labels[7] = 77
    write_point_labels(file, labels)


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (drop_sequence, "sequences/05/velodyne does not exist, which SemanticKITTI has; unpack"),
        (drop_labels, "05 has 1 scans and 0 files of labels, for instance 000000 has only one"),
        (cut_labels, "000000.label has .* labels, but .*000000.bin has .* points; unpack both"),
        (relabel, "000000.label has the label 77, which SemanticKITTI does not have"),
    ],
)
def test_what_is_wrong_with_a_download(dataset, tmp_path, damage, sentence):
    damage(dataset / "dataset" / "sequences")
    with pytest.raises(Refused, match=sentence):
        call_verb("prepare", "semantic_kitti", dataset, "--processes", 1)


def test_mistakes_of_the_command(dataset, tmp_path, model_folder):
    with pytest.raises(Refused, match="predictions/000000.label does not exist, .* by --model"):
        call_verb("lidar", dataset, tmp_path / "found")
    with pytest.raises(Refused, match="sequences/12/velodyne does not exist"):
        call_verb("lidar", dataset, tmp_path / "found", "--sequences", "11-12")
    with pytest.raises(Refused, match="knows other classes than SemanticKITTI; give a model"):
        call_verb("lidar", dataset, tmp_path / "found", "--model", model_folder)
    with pytest.raises(SystemExit):
        run_verb("lidar", dataset, tmp_path / "found", "--sequences", "7-30")


def label(dataset, output, sequence, count=None):
    """Labels of a scan, as a network may leave them, of all points or of so many."""
    scan = dataset / "dataset" / "sequences" / sequence / "velodyne" / "000000.bin"
    file = output / "sequences" / sequence / "predictions" / "000000.label"
    file.parent.mkdir(parents=True)
    write_point_labels(file, np.full(len(read_scan(scan)) if count is None else count, 10))


def test_only_whole_sequences_are_scored(dataset, tmp_path, capsys):
    found = tmp_path / "found"
    for sequence in ("08", "11"):
        label(dataset, found, sequence)
    call_verb("lidar", dataset, found, "--sequences", "08,11")
    out = capsys.readouterr().out
    assert "Scored 1 of 2 scans; these sequences have no true labels: 11." in out
    velodyne = dataset / "dataset" / "sequences" / "08" / "velodyne"
    shutil.copy(velodyne / "000000.bin", velodyne / "000001.bin")
    with pytest.raises(Refused, match="08/labels/000001.label does not exist, but .* again"):
        call_verb("lidar", dataset, found, "--sequences", "08,11")


def test_labels_that_the_server_would_refuse(dataset, tmp_path, capsys):
    output, options = tmp_path / "found", ("--sequences", 11)
    with pytest.raises(Refused, match="11/predictions/000000.label does not exist, .* by --model"):
        call_verb("lidar", dataset, output, *options)
    label(dataset, output, "11", 99)
    with pytest.raises(Refused, match="000000.label has 99 labels, but .*000000.bin has .* points"):
        call_verb("lidar", dataset, output, *options)
    assert "Pack sequences/" not in capsys.readouterr().out
    shutil.rmtree(output)
    label(dataset, output, "11")
    call_verb("lidar", dataset, output, *options)
    assert f"cd {output} && zip" in capsys.readouterr().out
