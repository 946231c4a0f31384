"""Cityscapes and COCO as their publishers pack them, prepared as docs/DATASETS.md says."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES
from one_step import ONE_STEP, train_one_step
from panopticapi.utils import id2rgb
from PIL import Image
from predictions import evaluate_perfect_predictions
from project import ROOT, run_verb
from scenes import draw_scene

from efficientps_d2.data.streets.dataset import make_streets
from efficientps_d2.evaluation.instance_evaluation import write_instance_json

PAGE = ROOT / "docs" / "DATASETS.md"


def prepare(section: str) -> None:
    """Run the block of that section that follows the download, as it is written."""
    text = PAGE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    _, commands, _ = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    env = {**os.environ, "DETECTRON2_DATASETS": str(Path("datasets").resolve())}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    subprocess.run(["bash", "-e", "-c", commands], env=env, check=True, capture_output=True)


def pack(archive: Path, folder: Path, *names: str) -> None:
    """Move files or folders below ``folder`` into an archive."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as file:
        for name in names:
            for path in sorted((folder / name).rglob("*")) or [folder / name]:
                file.write(path, path.relative_to(folder))


def perfect_pq_and_ap(cfg, name):
    results = evaluate_perfect_predictions(cfg, name)
    return results["panoptic_seg"]["PQ"], results["segm"]["AP"], results["sem_seg"]


def test_cityscapes(tmp_path, monkeypatch, tiny_config, capsys):
    monkeypatch.chdir(tmp_path)  # built-in datasets are registered below datasets/
    made = tmp_path / "made"
    make_streets(made, splits={"train": 1, "val": 1}, seed=4)
    for file in made.rglob("*_labelTrainIds.png"):
        file.unlink()
    root = tmp_path / "datasets" / "cityscapes"
    pack(root / "leftImg8bit_trainvaltest.zip", made, "leftImg8bit")
    pack(root / "gtFine_trainvaltest.zip", made, "gtFine/train", "gtFine/val")
    prepare("Cityscapes")

    train, val = "cityscapes_fine_panoptic_train", "cityscapes_fine_panoptic_val"
    assert run_verb("check", val) == 0 and "Errors: 0," in capsys.readouterr().out
    cfg = tiny_config(val, "DATASETS.TRAIN", (train,), *ONE_STEP)
    train_one_step(cfg)
    pq, ap, sem_seg = perfect_pq_and_ap(cfg, val)
    assert (pq, ap, sem_seg["IoU"]) == pytest.approx((100, 100, 100))


def write_coco(root: Path, split: str) -> None:
    """One image with two of the 53 kinds of stuff and two of the 80 things."""
    of_name = {c["name"]: c["id"] for c in COCO_CATEGORIES}
    ids = {"car": of_name["car"], "person": of_name["toothbrush"]}
    ids |= {"road": of_name["road"], "sky": of_name["sky-other-merged"]}
    scene_categories = [{"id": i, "name": n} for n, i in ids.items()]
    pan_seg, segments = draw_scene(np.random.default_rng(2), scene_categories, (60, 80))
    for folder in (split, f"panoptic_{split}", "annotations"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(root / split / "000000000007.jpg")
    Image.fromarray(id2rgb(pan_seg)).save(root / f"panoptic_{split}" / "000000000007.png")
    content = {
        "images": [{"id": 7, "file_name": "000000000007.jpg", "height": 60, "width": 80}],
        "annotations": [
            {"image_id": 7, "file_name": "000000000007.png", "segments_info": segments}
        ],
        "categories": [{k: c[k] for k in ("id", "name", "isthing")} for c in COCO_CATEGORIES],
    }
    (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("instance_json", [True, False])
def test_coco(tmp_path, monkeypatch, tiny_config, instance_json, capsys):
    """133 classes; AP from the instance JSON, or without it."""
    monkeypatch.chdir(tmp_path)
    made, root = tmp_path / "datasets" / "coco", tmp_path / "datasets" / "coco"
    for split in ("train2017", "val2017"):
        write_coco(made, split)
    train, val = "coco_2017_train_panoptic", "coco_2017_val_panoptic"
    if instance_json:
        write_instance_json(val, str(made / "annotations" / "instances_val2017.json"))
    (made / "annotations" / "captions_val2017.json").write_text("{}")
    made = made.rename(tmp_path / "made")
    for split in ("train2017", "val2017"):
        pack(root / f"{split}.zip", made, split)
        pack(made / "annotations" / f"panoptic_{split}.zip", made, f"panoptic_{split}")
    panoptic = [f.relative_to(made) for f in (made / "annotations").glob("panoptic_*")]
    others = [f.relative_to(made) for f in (made / "annotations").glob("[ci]*.json")]
    pack(root / "panoptic_annotations_trainval2017.zip", made, *panoptic)
    pack(root / "annotations_trainval2017.zip", made, *others)
    shutil.rmtree(made)
    prepare("COCO 2017 panoptic")

    assert (root / "annotations" / "instances_val2017.json").is_file() == instance_json
    run_verb("check", val)
    assert "Errors: 0," in capsys.readouterr().out
    cfg = tiny_config(val, "DATASETS.TRAIN", (train,), *ONE_STEP)
    train_one_step(cfg)
    pq, ap, sem_seg = perfect_pq_and_ap(cfg, val)
    assert (pq, ap, sem_seg["mIoU"]) == pytest.approx((100, 100, 100))
