"""Config files of others: nothing is fetched, and no trick costs time or memory."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from efficientps_d2.config.loading import load_config
from efficientps_d2.config.yaml_file import read_config
from efficientps_d2_runtime.errors import InputError

VALID = "_BASE_: efficientps_streets\n"
BOMB = "a0: &a0 [0]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
TRICKS = {
    "address": ("_BASE_: http://127.0.0.1/x.yaml\n", "name a file on this computer"),
    "no text": ("_BASE_: 3\n", "_BASE_ is 3; name a file"),
    "itself": ("_BASE_: mine.yaml\n", "leads back to this file"),
    "missing": ("_BASE_: none.yaml\n", "_BASE_ none.yaml does not exist"),
    "folder": ("_BASE_: '.'\n", "does not exist"),
    "bomb": (BOMB, "has too many values"),
    "alias of itself": ("a: &a [*a]\n", "has too many values"),
    "brackets": (f"a: {'[' * 20_000}\n", "nested too deeply"),
    "brackets of a value": (f"SOLVER: {{BASE_LR: '{'(' * 20_000}'}}\n", "mine.yaml: "),
    "large": ("#" * 2_000_000, "has more than 100000 bytes"),
    "odd bool": ("SEED: !!bool x\n", "is no YAML"),
    "odd time": ("SEED: !!timestamp x\n", "is no YAML"),
    "no number": ('SEED: !!int ""\n', "is no YAML"),
    "base 60": (f"SEED: 1{':1' * 20_000}\n", "is no number that is read here"),
    "many digits": (f"SOLVER: {{MAX_ITER: 1{'0' * 400}}}\n", "is no number that is read here"),
    "many hexadecimal digits": (f"SEED: 0x1{'0' * 5000}\n", "is no number that is read here"),
    "long sum": (f"SOLVER: {{BASE_LR: '{'1+' * 20_000}1'}}\n", "mine.yaml: "),
    "long name": (f"_BASE_: {'a' * 5000}\n", "more than 1000 letters"),
    "hub after a space": ("MODEL: {EFFICIENTNET: {NAME: ' hf-hub:x/y'}}\n", "would be fetched"),
    "tag": ("a: !!python/object/apply:os.system [ls]\n", "is no YAML"),
    "NUL": ('OUTPUT_DIR: "a\\0b"\n', "OUTPUT_DIR is 'a\\x00b'; give a folder"),
    "value for keys": (VALID + "SOLVER: 3\n", "mine.yaml: "),
    "keys for a value": (VALID + "SEED: {A: 3}\n", "SEED holds keys"),
    "hub": ("MODEL: {EFFICIENTNET: {NAME: 'hf-hub:x/y'}}\n", "would be fetched from a network"),
    "weights": ("MODEL: {WEIGHTS: 'https://x/y.pth'}\n", "would be fetched from a network"),
    "catalog": ("MODEL: {WEIGHTS: 'detectron2://x.pkl'}\n", "would be fetched from a network"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_tricks_are_one_sentence(tmp_path, trick):
    content, message = TRICKS[trick]
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(InputError) as error:
        load_config(str(file))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_bomb_of_bases(tmp_path):
    for i in range(13):
        (tmp_path / f"{i}.yaml").write_text(f"_BASE_: [{i + 1}.yaml, {i + 1}.yaml]\n")
    (tmp_path / "13.yaml").write_text("SEED: 1\n")
    with pytest.raises(InputError, match="leads to over 30 files"):
        load_config(str(tmp_path / "0.yaml"))


def test_an_address_on_the_command_line_is_what_its_user_wants(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("MODEL: {WEIGHTS: 'https://x/y.pth'}\n")
    wanted = ["MODEL.WEIGHTS", "https://x/y.pth"]
    assert wanted[1] == load_config(str(file), wanted).MODEL.WEIGHTS
    assert wanted[1] == load_config(str(file), only_read=True).MODEL.WEIGHTS


def test_a_base_must_lie_below_the_folder_of_a_saved_model(tmp_path):
    (tmp_path / "outside.yaml").write_text("SEED: 5\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "inside.yaml").write_text("SEED: 6\n")
    (model / "config.yaml").write_text("_BASE_: inside.yaml\n")
    assert load_config(str(model / "config.yaml"), inside=str(model)).SEED == 6
    (model / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    for base in ("../outside.yaml", str(tmp_path / "outside.yaml"), "link.yaml"):
        (model / "config.yaml").write_text(f"_BASE_: {base}\n")
        assert load_config(str(model / "config.yaml")).SEED == 5, "of the user's own"
        with pytest.raises(InputError, match="leads out of"):
            load_config(str(model / "config.yaml"), inside=str(model))


def test_later_bases_and_the_file_itself_win(tmp_path):
    (tmp_path / "a.yaml").write_text("SEED: 1\nINPUT: {FORMAT: RGB, RANDOM_FLIP: none}\n")
    (tmp_path / "b.yaml").write_text("SEED: 2\nSOLVER: {MAX_ITER: 7}\n")
    (tmp_path / "mine.yaml").write_text("_BASE_: [a.yaml, b.yaml]\nINPUT: {FORMAT: BGR}\n")
    cfg = load_config(str(tmp_path / "mine.yaml"))
    assert (cfg.SEED, cfg.SOLVER.MAX_ITER, cfg.INPUT.FORMAT) == (2, 7, "BGR")
    assert cfg.INPUT.RANDOM_FLIP == "none"


def test_a_base_of_this_project_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("_BASE_: efficientps_custom.yaml\nSEED: 9\n")
    cfg = load_config("mine.yaml")
    assert cfg.SEED == 9 and cfg.MODEL.META_ARCHITECTURE == "EfficientPS"


NUMBERS = st.integers(-(10**20), 10**20)
KEYS = st.dictionaries(st.sampled_from(["A", "B", "C"]), NUMBERS | st.lists(NUMBERS))


@settings(max_examples=50)
@given(KEYS, KEYS)
def test_keys_are_read_as_yaml_reads_them(tmp_path_factory, base, own):
    folder = tmp_path_factory.mktemp("yaml")
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    (folder / "own.yaml").write_text(yaml.safe_dump({**own, "_BASE_": "base.yaml"}))
    assert read_config(str(folder / "own.yaml")) == {**base, **own}
