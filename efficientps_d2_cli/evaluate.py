"""Evaluate a trained network on a dataset: PQ, AP, mIoU.

efficientps-d2 evaluate --config-file output/mine/config.yaml --resume
efficientps-d2 evaluate --config-file output/mine/config.yaml MODEL.WEIGHTS model.pth \\
    DATASETS.TEST "('other_val',)"
"""

import argparse

from efficientps_d2_cli import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config-file", required=True, metavar="FILE", help="config.yaml of a run, or a config"
    )
    parser.add_argument(
        "--resume", action="store_true", help="take the weights of the run in OUTPUT_DIR"
    )
    train.add_launch_arguments(parser)
    parser.set_defaults(eval_only=True)


run = train.run
