"""What can be wrong with a download is one sentence."""

import json
import shutil

import numpy as np
import pytest
from project import Refused, call_verb
from published import write_idd, write_pastis, write_scannet, write_vistas

COW = {"label": "cow", "polygon": [[0, 0], [9, 0], [9, 9]]}


def test_other_versions_and_datasets(tmp_path):
    vistas = write_vistas(tmp_path / "vistas", "v1.2")
    with pytest.raises(Refused, match="vistas holds vistas, not vistas_v2; prepare that"):
        call_verb("prepare", "vistas_v2", vistas, tmp_path / "dest")
    with pytest.raises(Refused, match="vistas holds vistas as its publisher packs it; first run: "):
        call_verb("check", vistas)
    shutil.copy(vistas / "config_v1.2.json", vistas / "config_v2.0.json")
    with pytest.raises(Refused, match="has 66 labels, 37 things and 28 stuff, but Vistas v2.0 has"):
        call_verb("prepare", "vistas_v2", vistas, tmp_path / "dest")
    (vistas / "config_v2.0.json").write_text('{"labels": [{"name": "sky"}]}')
    with pytest.raises(Refused, match="config_v2.0.json is no config of Vistas: its labels need"):
        call_verb("prepare", "vistas_v2", vistas, tmp_path / "dest")


def test_scenes_of_scannet_that_are_missing(tmp_path):
    source = write_scannet(tmp_path / "scannet")
    shutil.rmtree(source / "scene0011_01")
    with pytest.raises(Refused, match="scene0011_01/instance does not exist, .* its list"):
        call_verb("prepare", "scannet", source, tmp_path / "dest")
    (source / "scannetv2_val.txt").unlink()
    with pytest.raises(Refused, match="scannetv2_val.txt does not exist, .*github.com/ScanNet"):
        call_verb("prepare", "scannet", source, tmp_path / "dest")


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"objects": [COW]}, "label 'cow', which"),
        ({"objects": [{"label": "car"}]}, r"is damaged \(KeyError\('polygon'\)\): imgWidth,"),
        ({"imgWidth": 10**9}, "damaged .*a size of 1000000000 x 108"),
    ],
)
def test_damaged_polygons(tmp_path, change, sentence):
    source = write_idd(tmp_path / "idd")
    file = source / "gtFine" / "val" / "7" / "frame0340_gtFine_polygons.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(Refused, match=f"frame0340_gtFine_polygons.json .*{sentence}"):
        call_verb("prepare", "idd", source, tmp_path / "dest", "--processes", 1)


def drop_fold(source):
    content = json.loads((source / "metadata.geojson").read_text())
    content["features"] = [f for f in content["features"] if f["properties"]["Fold"] != 3]
    (source / "metadata.geojson").write_text(json.dumps(content))


def lose_parcels(source):
    shutil.rmtree(source / "INSTANCE_ANNOTATIONS")


def lose_dates(source):
    series = np.load(source / "DATA_S2" / "S2_10014.npy")
    np.save(source / "DATA_S2" / "S2_10014.npy", series[1:])


def number_above(source):
    file = source / "INSTANCE_ANNOTATIONS" / "INSTANCES_10014.npy"
    np.save(file, np.load(file) + 70000)


def crop_target(source):
    file = source / "ANNOTATIONS" / "TARGET_10014.npy"
    np.save(file, np.load(file)[:, :60])


def other_version(source):
    file = source / "ANNOTATIONS" / "TARGET_10014.npy"
    np.save(file, np.load(file) + 5)


def cut_series(source):
    file = source / "DATA_S2" / "S2_10014.npy"
    file.write_bytes(file.read_bytes()[:2000])


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (drop_fold, "metadata.geojson lists no patch of fold3; unpack PASTIS.zip again"),
        (lose_parcels, "10 things must be|INSTANCE_ANNOTATIONS/INSTANCES_.*.npy does not exist"),
        (lose_dates, r"S2_10014.npy has the shape .5, 10, 64, 64., but .* lists 6 dates of 10"),
        (number_above, "INSTANCES_10014.npy numbers a parcel 700.., but a panoptic PNG has room"),
        (crop_target, r"INSTANCES_10014.npy has the shape .64, 64., but .* .3, 60, 64.; unpack"),
        (other_version, "TARGET_10014.npy has the label 2., which PASTIS does not have"),
        (cut_series, "S2_10014.npy is damaged, or no array; unpack"),
    ],
)
def test_what_is_wrong_with_pastis(tmp_path, damage, sentence):
    source = write_pastis(tmp_path / "pastis")
    damage(source)
    with pytest.raises(Refused, match=sentence):
        call_verb("prepare", "pastis", source, tmp_path / "dest", "--processes", 1)
