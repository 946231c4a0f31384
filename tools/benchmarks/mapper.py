"""Time the training mapper against Panoptic-DeepLab's, or measure the memory of loader processes.

python tools/benchmarks/mapper.py                    # both mappers on images of 1024 x 2048
python tools/benchmarks/mapper.py --records 100000   # memory of a loader process, made-up records

Both mappers get the same images (painted streets with 30 things), the augmentations of
configs/efficientps_cityscapes.yaml, and the same random numbers.
"""

import argparse
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", category=FutureWarning, module="torch.jit")  # Detectron2's import

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from detectron2.data import build_detection_train_loader, detection_utils  # noqa: E402
from detectron2.data.samplers import TrainingSampler  # noqa: E402
from detectron2.projects.panoptic_deeplab.dataset_mapper import (  # noqa: E402
    PanopticDeeplabDatasetMapper,
)
from detectron2.projects.panoptic_deeplab.target_generator import (  # noqa: E402
    PanopticDeepLabTargetGenerator,
)
from detectron2.utils.env import seed_all_rng  # noqa: E402
from panopticapi.utils import id2rgb  # noqa: E402
from PIL import Image  # noqa: E402

from efficientps_d2 import PanopticDatasetMapper  # noqa: E402
from efficientps_d2.config.loading import load_config  # noqa: E402
from efficientps_d2.data.augmentation import build_train_augmentations  # noqa: E402
from efficientps_d2.data.streets.scene import paint_scene  # noqa: E402

CONFIG = Path(__file__).parent.parent / "configs" / "efficientps_cityscapes.yaml"
STUFF = ("road", "sidewalk", "building", "vegetation", "sky", "pole", "traffic sign")
HEIGHT, WIDTH, THINGS_OF_IMAGE = 1024, 2048, 30


def write_image(folder: Path, number: int) -> dict:
    """Write a painted street of the size of Cityscapes, with 30 ellipses as its things."""
    rng = np.random.default_rng(number)
    image, objects = paint_scene(rng)
    stuff = [item for item in objects if item["label"] in STUFF]
    pan_seg = np.zeros((HEIGHT, WIDTH), np.int32)
    for item in stuff:
        polygon = np.array(item["polygon"]) * HEIGHT // image.shape[0]
        cv2.fillPoly(pan_seg, [polygon.astype(np.int32)], STUFF.index(item["label"]) + 1)
    for i in range(THINGS_OF_IMAGE):
        center, axes = rng.integers((WIDTH, HEIGHT)).tolist(), rng.integers(10, 120, 2).tolist()
        cv2.ellipse(pan_seg, center, axes, 0, 0, 360, 1000 + i, cv2.FILLED)
    files = folder / f"image_{number}.png", folder / f"truth_{number}.png"
    cv2.imwrite(str(files[0]), cv2.resize(image, (WIDTH, HEIGHT))[:, :, ::-1])
    cv2.imwrite(str(files[1]), id2rgb(pan_seg)[:, :, ::-1])
    return {
        "file_name": str(files[0]),
        "pan_seg_file_name": str(files[1]),
        "height": HEIGHT,
        "width": WIDTH,
        "segments_info": [
            {"id": i, "category_id": len(STUFF) if i >= 1000 else i - 1, "iscrowd": 0}
            for i in np.unique(pan_seg).tolist()
            if i
        ],
    }


def make_mappers() -> dict:
    augmentations = build_train_augmentations(load_config(str(CONFIG)))
    thing_ids = [len(STUFF)]
    generator = PanopticDeepLabTargetGenerator(ignore_label=255, thing_ids=thing_ids)
    return {
        "PanopticDatasetMapper": PanopticDatasetMapper(
            augmentations=augmentations, image_format="RGB", thing_class_ids=thing_ids
        ),
        "PanopticDeeplabDatasetMapper": PanopticDeeplabDatasetMapper(
            augmentations=augmentations, image_format="RGB", panoptic_target_generator=generator
        ),
    }


def time_mappers(images: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        records = [write_image(Path(folder), i) for i in range(images)]
        things = [sum(s["id"] >= 1000 for s in r["segments_info"]) for r in records]
        print(f"{images} images of {HEIGHT} x {WIDTH}, {np.mean(things):.0f} things on average")
        seconds = {name: [] for name in make_mappers()}
        for round_ in range(rounds + 1):
            for name, mapper in make_mappers().items():
                seed_all_rng(round_)
                for record in records:
                    start = time.perf_counter()
                    mapper(record)
                    if round_:  # the first round warms up
                        seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"{name}: {1000 * np.median(values):.0f} ms (median of {len(values)})")


def own_megabytes(pid: int) -> float:
    """Memory that belongs to one process alone (Linux)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"Private_\w+:\s+(\d+) kB", text)) / 1024


def measure_memory(count: int, steps: int = 200) -> float:
    """Own memory of a loader process after ``steps`` batches from ``count`` made-up records."""
    with tempfile.TemporaryDirectory() as folder:
        image = np.zeros((64, 64, 3), np.uint8)
        file = str(Path(folder, "image.png"))
        Image.fromarray(image).save(file)
        segments = [{"id": i, "category_id": i % 11, "iscrowd": 0} for i in range(1, 31)]
        records = [
            {"file_name": file, "height": 64, "width": 64, "segments_info": segments, "number": i}
            for i in range(count)
        ]
        loader = build_detection_train_loader(
            records,
            mapper=lambda record: {"image": detection_utils.read_image(record["file_name"])},
            sampler=TrainingSampler(count, seed=0),
            total_batch_size=4,
            num_workers=1,
            aspect_ratio_grouping=False,
        )
        batches = iter(loader)
        for _ in range(steps):
            next(batches)
        return own_megabytes(batches._workers[0].pid)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, help="measure memory with that many records")
    args = parser.parse_args()
    if args.records is None:
        time_mappers(args.images, args.rounds)
        return
    if sys.platform != "linux":
        sys.exit("Error: --records reads /proc, which only Linux has.")
    for count in (1000, args.records):
        print(f"{count} records: {measure_memory(count):.0f} MB of one loader process alone")


if __name__ == "__main__":
    main()
