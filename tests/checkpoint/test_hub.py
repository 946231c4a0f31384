"""Models of the Hugging Face hub, and their cards."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from efficientps_d2 import InputError
from efficientps_d2.checkpoint import hub
from efficientps_d2.checkpoint.model_card import CARD, TO_FILL_IN, write_card
from efficientps_d2.checkpoint.saved_model import read_saved_model


@pytest.fixture
def fetched(monkeypatch):
    """Names that were asked for; what they give is set by tests."""
    names, answer = [], {}

    def snapshot_download(name, allow_patterns):
        names.append((name, tuple(allow_patterns)))
        found = answer["is"]
        if isinstance(found, Exception):
            raise found
        return str(found)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return names, answer


def test_a_model_of_the_hub_is_read(fetched, model_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, answer = fetched
    answer["is"] = shutil.copytree(model_folder, tmp_path / "cache")
    model = read_saved_model("somebody/street-scenes")
    assert str(tmp_path / "cache" / "model.safetensors") == model.cfg.MODEL.WEIGHTS
    ((name, files),) = names
    assert name == "somebody/street-scenes" and "config.yaml" in files


@pytest.mark.parametrize(
    "error, told",
    [
        (ConnectionError("cannot reach\nhuggingface.co"), "(cannot reach huggingface.co)"),
        (RepositoryNotFoundError.__new__(RepositoryNotFoundError), "(there is none, or it needs"),
    ],
)
def test_a_hub_that_has_none_is_one_sentence(fetched, tmp_path, monkeypatch, error, told):
    monkeypatch.chdir(tmp_path)
    fetched[1]["is"] = error
    with pytest.raises(InputError) as raised:
        read_saved_model("somebody/nothing")
    assert str(raised.value).startswith("somebody/nothing is no folder here, and no model")
    assert told in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["output/mine", "./a/b", "a/b/c", "lost", "/a/b"])
def test_lost_folders_are_not_asked_for(fetched, tmp_path, monkeypatch, name):
    """What lies in a folder that exists is a mistyped folder."""
    monkeypatch.chdir(tmp_path)
    Path("output").mkdir()
    with pytest.raises(InputError, match="does not exist; give the folder of a saved model"):
        read_saved_model(name)
    assert fetched[0] == []


def test_the_card_says_what_the_model_is(toy, tiny_config, tmp_path):
    cfg = tiny_config(toy)
    cfg.MODEL.EFFICIENTPS.CLASS_NAMES = ["road", "sky", "car", "person"]
    cfg.MODEL.EFFICIENTPS.THING_CLASS_IDS = [2, 3]
    write_card(tmp_path, cfg, "Results on toy\n\n| All | 83.4 |\n")
    text = (tmp_path / CARD).read_text()
    assert text.startswith("---\nlibrary_name: efficientps_d2\n")
    for line in (
        "# EfficientPS for 4 classes",
        "Things: car, person.",
        "Stuff: road, sky.",
        "* Backbone: `tf_efficientnet_lite0`",
        "* Training data: toy",
        "| All | 83.4 |",
    ):
        assert line in text.splitlines(), line
    assert "{" not in text


def test_a_card_is_replaced_until_somebody_has_filled_it_in(toy, tiny_config, tmp_path):
    cfg, card = tiny_config(toy), tmp_path / CARD
    for results in ("| All | 70.0 |\n", "| All | 80.0 |\n"):
        write_card(tmp_path, cfg, results)
        assert results in card.read_text()
    card.write_text(card.read_text().replace(TO_FILL_IN, "CC0, for anyone."))
    filled = card.read_text()
    write_card(tmp_path, cfg, "| All | 90.0 |\n")
    assert card.read_text() == filled
