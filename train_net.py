"""Train and evaluate EfficientPS; flags are those of Detectron2's own script.

python train_net.py --config-file configs/efficientps_cityscapes.yaml --num-gpus 8

Copy this file to add own datasets, heads or hooks: register them at the start of ``main``.
"""

import sys

from efficientps_d2_cli.environment import require_packages

require_packages()

from efficientps_d2.engine import (  # noqa: E402
    Trainer,
    default_argument_parser,
    evaluate,
    launch,
    setup,
)
from efficientps_d2.report.diagnosis import warn_of_bad_learning  # noqa: E402


def main(args):
    cfg = setup(args)
    if args.eval_only:
        return evaluate(cfg, resume=args.resume)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    results = trainer.train()
    warn_of_bad_learning(cfg)
    return results


if __name__ == "__main__":
    sys.exit(launch(main, default_argument_parser().parse_args()))
