"""Runs: setting them up, training, evaluation, several processes."""

from efficientps_d2.engine.arguments import default_argument_parser
from efficientps_d2.engine.evaluate import evaluate
from efficientps_d2.engine.launch import launch
from efficientps_d2.engine.setup import setup
from efficientps_d2.engine.trainer import Trainer

__all__ = ["Trainer", "default_argument_parser", "evaluate", "launch", "setup"]
