"""Paint the embedded dataset "streets": street scenes in the layout of Cityscapes.

efficientps-d2 streets
efficientps-d2 streets --labelme output/annotated
efficientps-d2 streets --videos output/drives
efficientps-d2 streets --lidar output/scans

It goes to DETECTRON2_DATASETS/streets, by default datasets/streets, where the configs find it.
--labelme writes scenes with annotations as labelme saves them instead, for docs/CUSTOM_DATA.md.
--videos writes drives through streets instead, with their panoptic ground truth.
--lidar writes scans of streets as SemanticKITTI has them, for docs/DATASETS.md.
"""

import argparse
import os
import shlex
from pathlib import Path

from efficientps_d2_cli.options import natural, path, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=path, metavar="DIR", help="default: where configs look")
    parser.add_argument("--train", type=positive, help="training images; default 300")
    parser.add_argument("--val", type=positive, help="validation images; default 60")
    parser.add_argument("--seed", type=natural, help="of the dataset and of videos; default 0")
    parser.add_argument(
        "--if-missing", action="store_true", default=None, help="keep a dataset that is there"
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--labelme", type=path, metavar="DIR", help="write an example for labelme to this folder"
    )
    instead.add_argument("--videos", type=path, metavar="DIR", help="write videos to this folder")
    instead.add_argument("--lidar", type=path, metavar="DIR", help="write scans to this folder")
    parser.add_argument(
        "--count",
        type=positive,
        help="images of --labelme, default 20; videos, default 4; scans of each of the 11 "
        "sequences of --lidar, default 20",
    )


def run(args: argparse.Namespace) -> int:
    _refuse_idle_flags(args)
    from efficientps_d2.data.datasets.register import datasets_root
    from efficientps_d2.data.streets.dataset import make_streets
    from efficientps_d2.data.streets.labelme import write_labelme_example
    from efficientps_d2.data.streets.videos import write_street_videos

    if args.labelme:
        count = args.count or 20
        write_labelme_example(args.labelme, count)
        print(f"Wrote {count} images with their annotations to {args.labelme}")
        return 0
    if args.videos:
        count = args.count or 4
        write_street_videos(args.videos, count, seed=args.seed or 0)
        print(f"Wrote {count} videos with their panoptic ground truth to {args.videos}")
        return 0
    if args.lidar:
        from efficientps_d2.data.streets.lidar import write_lidar_streets

        count = args.count or 20
        write_lidar_streets(args.lidar, count, processes=os.cpu_count(), seed=args.seed or 0)
        print(f"Wrote 11 sequences of {count} scans with their labels to {args.lidar}. Next:\n")
        print(f"efficientps-d2 prepare semantic_kitti {shlex.quote(str(args.lidar))} --train")
        return 0
    output = args.output or Path(datasets_root()) / "streets"
    if args.if_missing and output.exists():
        print(f"{output} is there already.")
        return 0
    splits = {"train": args.train or 300, "val": args.val or 60}
    make_streets(output, splits=splits, seed=args.seed or 0)
    print(f"Wrote {splits['train']} + {splits['val']} images to {output}")
    return 0


def _refuse_idle_flags(args: argparse.Namespace) -> None:
    """Flags that would do nothing are mistakes."""
    modes = [mode for mode in ("labelme", "videos", "lidar") if getattr(args, mode)]
    if not modes:
        if args.count:
            error = "--count is of --labelme, --videos and --lidar; give --train and --val"
            args.parser.error(error)
        return
    mode = f"--{modes[0]}"
    names = ["output", "train", "val", "if_missing", *(["seed"] if args.labelme else [])]
    for name in names:
        if getattr(args, name) is not None:
            args.parser.error(f"--{name.replace('_', '-')} does nothing with {mode}; leave it out")
