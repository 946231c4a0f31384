"""The flags of a training."""

import argparse

from detectron2.engine import default_argument_parser as detectron2_argument_parser


def default_argument_parser(epilog: str | None = None) -> argparse.ArgumentParser:
    """Detectron2's flags, and ``--force``."""
    parser = detectron2_argument_parser(epilog)
    parser.add_argument(
        "--force", action="store_true", help="resume with other values than the run began with"
    )
    return parser
