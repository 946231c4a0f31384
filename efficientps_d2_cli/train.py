"""Train a network, and evaluate it at the end.

efficientps-d2 train --config-file configs/efficientps_streets.yaml
efficientps-d2 train --config-file configs/efficientps_custom.yaml --resume \\
    DATASETS.TRAIN "('mine_train',)" DATASETS.TEST "('mine_val',)" OUTPUT_DIR output/mine

The flags are those of Detectron2's train_net.py, --num-processes, --timeout and --force.
"""

import argparse

LAUNCHING = ("before", "run", "parser")  # of this program, not of the training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of Detectron2's ``default_argument_parser``."""
    parser.add_argument("--config-file", default="", metavar="FILE", help="path to config file")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint in OUTPUT_DIR, or begin there",
    )
    parser.add_argument(
        "--force", action="store_true", help="resume with other values than the run began with"
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate, do not train")
    add_launch_arguments(parser)


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """How many processes, and config overrides."""
    parser.add_argument("--num-gpus", type=int, default=1, help="GPUs of each machine")
    parser.add_argument(
        "--num-processes", type=int, default=0, help="processes on the CPU, instead of --num-gpus"
    )
    parser.add_argument("--num-machines", type=int, default=1, help="machines in all")
    parser.add_argument("--machine-rank", type=int, default=0, help="of this machine, from 0")
    parser.add_argument(
        "--dist-url", default="auto", help="of the first machine, for torch.distributed"
    )
    parser.add_argument(
        "--timeout",
        type=int,
        default=1800,
        help="seconds after which a process that does not answer ends all; default 1800",
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="config overrides, after all flags",
    )


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.engine import launch

    flags = {key: value for key, value in vars(args).items() if key not in LAUNCHING}
    return launch(main, argparse.Namespace(**flags))  # other processes get it as a pickle


def main(args: argparse.Namespace):
    """As in train_net.py, which users copy."""
    from efficientps_d2.engine import Trainer, evaluate, setup
    from efficientps_d2.report.diagnosis import warn_of_bad_learning

    cfg = setup(args)
    if args.eval_only:
        return evaluate(cfg, resume=args.resume)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    results = trainer.train()
    warn_of_bad_learning(cfg)
    return results
