"""The flags of a training."""

import argparse

from detectron2.engine import default_argument_parser as detectron2_argument_parser

TIMEOUT = 1800  # seconds


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """Detectron2's flags, ``--num-processes``, ``--timeout`` and ``--force``."""
    parser = detectron2_argument_parser(epilog)
    parser.add_argument(
        "--num-processes", type=int, default=0, help="processes on the CPU, instead of --num-gpus"
    )
    parser.add_argument(
        "--timeout",
        type=int,
        default=TIMEOUT,
        help="seconds after which a process that does not answer ends the training",
    )
    parser.add_argument(
        "--force", action="store_true", help="resume with other values than the run began with"
    )
    return parser
