"""A copy of a run in object storage: what is there, and going on from it on another machine."""

import os
from pathlib import Path

import pytest
import torch
from detectron2.utils import comm
from processes import in_two_processes
from project import run_verb
from pyarrow import fs
from scenes import write_dataset

from efficientps_d2 import InputError
from efficientps_d2.config.loading import load_config
from efficientps_d2.engine.mirror import Mirror, prepare_mirror
from efficientps_d2_runtime.batch.storage import Folder

TINY = (
    *("MODEL.EFFICIENTNET.WEIGHTS", "", "MODEL.FPN.OUT_CHANNELS", 16),
    *("MODEL.SEM_SEG_HEAD.CONVS_DIM", 16, "MODEL.ROI_BOX_HEAD.FC_DIM", 32),
    *("MODEL.ROI_MASK_HEAD.CONV_DIM", 16, "INPUT.CROP.SIZE", "(64, 96)"),
    *("DATASETS.TRAIN", "('mirrored_train',)", "DATASETS.TEST", "('mirrored_train',)"),
    *("SOLVER.IMS_PER_BATCH", 2, "SOLVER.CHECKPOINT_PERIOD", 1, "SOLVER.CHECKPOINTS_KEPT", 1),
    *("SOLVER.MAX_ITER", 1, "TEST.EVAL_PERIOD", 0, "TEST.PICTURES", 0, "SEED", 3),
    *("DATALOADER.NUM_WORKERS", 0, "OUTPUT_MIRROR", "s3://bucket/run"),
)


def files_of(address: str) -> set[str]:
    """The relative names of all files below."""
    folder = Folder(address)
    found = folder.filesystem.get_file_info(fs.FileSelector(folder.path, recursive=True))
    return {info.path.removeprefix(f"{folder.path}/") for info in found if info.is_file}


def train(*more) -> int:
    return run_verb("train", "--config-file", "efficientps_streets", *more)


def test_a_training_goes_on_on_another_machine(object_storage, tmp_path, monkeypatch):
    (tmp_path / "mirrored").mkdir()
    write_dataset(tmp_path / "mirrored" / "train")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    first, second = (str(tmp_path / name) for name in ("first", "second"))
    assert train(*TINY, "OUTPUT_DIR", first) == 0
    there = files_of("s3://bucket/run")
    here = files_of(first)
    assert there == {name for name in here if not name.startswith(".")}
    assert {"model_final.pth", "config.yaml", "model/model.safetensors", "results.md"} <= there
    # Of another machine, which has nothing.
    more = ("OUTPUT_DIR", second, "SOLVER.MAX_ITER", 2)
    assert train("--resume", "--force", *TINY, *more) == 0
    log = (tmp_path / "second" / "log.txt").read_text()
    assert "Fetched model_final.pth from s3://bucket/run." in log
    assert "Training from iteration 1 to 1." in log
    assert train(*TINY, "OUTPUT_DIR", str(tmp_path / "third")) == 1


def save(folder: Path, name: str, iteration: int) -> None:
    """A checkpoint, as small as one can be."""
    folder.mkdir(exist_ok=True)
    torch.save({"model": {}, "iteration": iteration}, folder / name)
    (folder / "last_checkpoint").write_text(name)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "earlier_run").mkdir(parents=True)
    (folder / "config.yaml").write_text(load_config("efficientps_streets").dump())
    for name in (".lock", "earlier_run/model_final.pth"):
        (folder / name).write_text(name)
    (folder / "model_0000019.pth.partial").write_text("half")
    save(folder, "model_0000009.pth", 9)
    return folder


@pytest.mark.parametrize("address", ["s3://bucket/run", "copy"])
def test_what_is_copied_and_fetched(object_storage, run, tmp_path, address):
    address = address if "://" in address else str(tmp_path / address)
    mirror = Mirror(str(run), address)
    mirror.copy()
    assert files_of(address) == {"model_0000009.pth", "config.yaml", "last_checkpoint"}
    (run / "model_0000009.pth").unlink()
    save(run, "model_0000019.pth", 19)
    mirror.copy()
    assert files_of(address) == {"model_0000019.pth", "config.yaml", "last_checkpoint"}
    other = tmp_path / "other"
    other.mkdir()
    assert prepare_mirror(str(other), address, resume=True) == "model_0000019.pth"
    assert (other / "model_0000019.pth").read_bytes() == (run / "model_0000019.pth").read_bytes()
    assert prepare_mirror(str(other), address, resume=True) == ""
    with pytest.raises(InputError, match="holds a run .model_0000019.pth.; go on with it by --res"):
        prepare_mirror(str(other), address, resume=False)


@pytest.mark.parametrize(
    ("name", "iteration", "fetched"),
    [
        ("model_0000009.pth", 9, True),  # a machine that was away
        ("model_final.pth", 9, True),  # of a shorter training
        ("model_final.pth", 29, False),
        ("model_0000029.pth", 29, False),  # it was stopped before it could copy this
    ],
)
def test_the_newer_checkpoint_is_kept(object_storage, run, tmp_path, name, iteration, fetched):
    save(run, "model_0000019.pth", 19)
    Mirror(str(run), "s3://bucket/run").copy()
    other = tmp_path / "other"
    save(other, name, iteration)
    prepare_mirror(str(other), "s3://bucket/run", resume=True)
    last = "model_0000019.pth" if fetched else name
    assert (other / "last_checkpoint").read_text() == last
    assert Folder("s3://bucket/run").read("last_checkpoint").decode() == last


def test_a_final_checkpoint_in_the_mirror_may_be_older(object_storage, run, tmp_path):
    save(run, "model_final.pth", 19)
    Mirror(str(run), "s3://bucket/run").copy()
    for iteration, fetched in ((9, "model_final.pth"), (29, "")):
        other = tmp_path / f"{iteration}"
        save(other, f"model_{iteration:07d}.pth", iteration)
        assert prepare_mirror(str(other), "s3://bucket/run", resume=True) == fetched
        assert not [file for file in other.iterdir() if file.name.startswith(".")]


def test_a_damaged_checkpoint_is_not_the_last_of_the_mirror(object_storage, run, tmp_path):
    save(run, "model_0000019.pth", 19)
    whole = (run / "model_0000019.pth").read_bytes()
    (run / "model_0000019.pth").write_bytes(whole[:-9])
    prepare_mirror(str(run), "s3://bucket/run", resume=True)
    assert Mirror(str(run), "s3://bucket/run").last() == "model_0000009.pth"


def test_runs_are_not_mixed(object_storage, run, tmp_path):
    """By --resume, which a scheduler always gives."""
    Mirror(str(run), "s3://bucket/run").copy()
    other = tmp_path / "other"
    save(other, "model_0000029.pth", 29)
    cfg = load_config("efficientps_streets", ["SEED", 7])
    (other / "config.yaml").write_text(cfg.dump())
    there = files_of("s3://bucket/run")
    match = "OUTPUT_MIRROR s3://bucket/run is of another run than .*other, .*: SEED .* .now 7.;"
    with pytest.raises(InputError, match=match):
        prepare_mirror(str(other), "s3://bucket/run", resume=True)
    assert files_of("s3://bucket/run") == there
    prepare_mirror(str(other), "s3://bucket/run", resume=True, force=True)
    assert Mirror(str(run), "s3://bucket/run").last() == "model_0000029.pth"


def last_of_machine(rank: int, folders: list[str], environment: dict[str, str]) -> str:
    os.environ.update(environment)
    comm.create_local_process_group(1)  # each process is a machine
    prepare_mirror(folders[rank], "s3://bucket/run", resume=True)
    return Path(folders[rank], "last_checkpoint").read_text()


@pytest.mark.parametrize("newest", [0, 1])
def test_a_copy_that_failed_is_made_before_others_go_on(object_storage, run, tmp_path, newest):
    """Else machines would begin with different weights, after each restart."""
    Mirror(str(run), "s3://bucket/run").copy()
    folders = [tmp_path / "first", tmp_path / "second"]
    save(folders[newest], "model_0000019.pth", 19)
    folders[1 - newest].mkdir()
    environment = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
    lasts = in_two_processes(last_of_machine, tmp_path, [*map(str, folders)], environment)
    assert lasts == ["model_0000019.pth"] * 2


def test_a_bucket_that_fails_ends_no_training(object_storage, run, caplog):
    mirror = Mirror(str(run), "s3://bucket/run")
    mirror.copy()
    mirror.there.path = "nowhere/run"
    (run / "config.yaml").write_text("new")
    mirror.try_to_copy()
    assert "s3://nowhere/run/config.yaml cannot be written" in caplog.text
    with pytest.raises(InputError, match="config.yaml cannot be written .*check bucket, credent"):
        mirror.copy()
    mirror.there.path = "bucket/run"
    mirror.try_to_copy()
    assert mirror.there.read("config.yaml") == b"new"


def test_mistakes(object_storage, run):
    (run.parent / "link").symlink_to(run)
    for inside in (run, run / "copy", run.parent / "link" / "copy"):
        with pytest.raises(InputError, match="OUTPUT_MIRROR is OUTPUT_DIR, or lies in it"):
            prepare_mirror(str(run), str(inside), resume=True)
    with pytest.raises(InputError, match="nothing://x cannot be opened"):
        prepare_mirror(str(run), "nothing://x", resume=True)
    with pytest.raises(InputError, match="s3://nowhere/run/.* cannot be written"):
        prepare_mirror(str(run), "s3://nowhere/run", resume=True)
    prepare_mirror(str(run), "", resume=False)
