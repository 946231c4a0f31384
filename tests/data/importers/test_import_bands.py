"""Files of bands take the place of annotated images."""

import json

import numpy as np
import pytest
from import_sources import CAR, ROAD, SIZE, run, write_labelme, write_many
from project import Refused


def test_images_of_bands_take_the_place_of_the_annotated_ones(tmp_path, capsys):
    source, dest = write_many(tmp_path / "source", 3), tmp_path / "imported"
    (tmp_path / "bands" / "deeper").mkdir(parents=True)
    for annotation in source.rglob("*.json"):
        file = tmp_path / "bands" / "deeper" / f"{annotation.stem}.npy"
        np.save(file, np.full((7, *SIZE), 5, np.uint16))
    run("labelme", source, dest, "--bands", str(tmp_path / "bands"))
    assert "efficientps_bands.yaml" in capsys.readouterr().out
    found = [*dest.rglob("images/*")]
    assert len(found) == 3 and all(np.load(file).shape == (7, *SIZE) for file in found)
    content = json.loads((dest / "train" / "panoptic.json").read_text())
    assert all(image["file_name"].endswith(".npy") for image in content["images"])

    np.save(file, np.zeros((2, 5, 5)))
    with pytest.raises(Refused, match="is 5 x 5 pixels, but .* annotate a picture of the same"):
        run("labelme", source, tmp_path / "other", "--bands", str(tmp_path / "bands"))
    np.save(file, np.zeros((3, *SIZE)))
    with pytest.raises(Refused, match="p2.npy has 3 bands, but others have 7; give files of the"):
        run("labelme", source, tmp_path / "other", "--bands", str(tmp_path / "bands"))
    file.write_bytes(b"no array")
    with pytest.raises(Refused, match=f"{file.name} cannot be read as an image .*; repair it"):
        run("labelme", source, tmp_path / "other", "--bands", str(tmp_path / "bands"))
    file.unlink()
    with pytest.raises(Refused, match=f"bands has no {file.name} or .tif; add it"):
        run("labelme", source, tmp_path / "other", "--bands", str(tmp_path / "bands"))
    with pytest.raises(Refused, match="source holds no .npy or .tif file"):
        run("labelme", source, tmp_path / "other", "--bands", str(source))


@pytest.fixture
def namesakes(tmp_path):
    """Two annotated images of one name, and an empty folder of bands."""
    for folder in ("a", "b"):
        write_labelme(tmp_path / "source", [ROAD, CAR], name=f"{folder}/p.jpg")
    (tmp_path / "bands").mkdir()
    return tmp_path / "source", tmp_path / "bands"


def test_images_of_one_name_get_the_files_of_their_folders(namesakes, tmp_path):
    source, bands = namesakes
    for number, folder in enumerate(("a", "b")):
        (bands / folder).mkdir()
        np.save(bands / folder / "p.npy", np.full((7, *SIZE), number))
    run("labelme", source, tmp_path / "mine", "--bands", str(bands), "--split", "1")
    images = tmp_path / "mine" / "train" / "images"
    values = {file.stem: int(np.load(file).max()) for file in images.iterdir()}
    assert values == {"p": 0, "b_p": 1}


@pytest.mark.parametrize(
    "files, sentence",
    [
        (["p.npy"], "p.npy has the name of .*a/p.jpg and of .*b/p.jpg; rename one of these"),
        (["b/p.npy"], "b/p.npy has the name of .*a/p.jpg and of .*b/p.jpg; rename one of these"),
        (["c/p.npy", "d/p.npy"], "c/p.npy and .*d/p.npy have the name of .*p.jpg; .* or rename"),
        (["p.npy", "p.tif"], "p.npy and .*p.tif have the same name; take one of them away"),
    ],
)
def test_no_file_is_given_to_two_images(namesakes, tmp_path, files, sentence):
    source, bands = namesakes
    for file in files:
        (bands / file).parent.mkdir(exist_ok=True)
        with open(bands / file, "wb") as opened:
            np.save(opened, np.zeros((7, *SIZE)))
    with pytest.raises(Refused, match=sentence):
        run("labelme", source, tmp_path / "mine", "--bands", str(bands))
    assert not (tmp_path / "mine").exists()
