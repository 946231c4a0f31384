"""Count parameters and multiply-adds of a network, part by part.

efficientps-d2 size --config-file configs/efficientps_cityscapes.yaml --size 1024 2048

Also takes the configs of Panoptic FPN in Detectron2. Multiply-adds are those of convolutions and
linear layers for one image, counted by fvcore, in inference, with as many boxes as the config lets
through: RPN.POST_NMS_TOPK_TEST in the box head and TEST.DETECTIONS_PER_IMAGE in the mask head.
Class counts come from the datasets; for data that are not here, name others after the flags:
DATASETS.TRAIN "('streets_train',)" DATASETS.TEST "('streets_val',)"
"""

import argparse

from efficientps_d2_cli.options import side


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-file", required=True, metavar="FILE", help="a config, or its name"
    )
    parser.add_argument(
        "--size",
        type=side,
        nargs=2,
        default=(1024, 2048),
        metavar=("HEIGHT", "WIDTH"),
        help="of the image; default 1024 2048, as in Cityscapes",
    )
    parser.add_argument(
        "opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config overrides"
    )


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.config.loading import load_config, without_cuda
    from efficientps_d2.deploy.size import size_table
    from efficientps_d2.engine.auto_values import fill_auto

    cfg = without_cuda(load_config(args.config_file, ["MODEL.WEIGHTS", "", *args.opts]))
    fill_auto(cfg)
    print(size_table(cfg, *args.size))
    return 0
