"""Detectron2's launch, with one sentence for mistakes and signals that reach every process."""

import multiprocessing
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable

import torch
from detectron2.engine import launch as detectron2_launch
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from efficientps_d2.utils.errors import InputError, one_sentence


def launch(main: Callable[[Namespace], object], args: Namespace) -> int:
    """Call ``main(args)`` in ``--num-gpus`` processes, or in this one; returns the exit status.

    Args:
        main: a function of a module, which other processes can import.
        args: flags of Detectron2's ``default_argument_parser``.
    """
    gpus = args.num_gpus if torch.cuda.is_available() else 0
    if gpus > 1:
        signal.signal(signal.SIGINT, _pass_on)
        signal.signal(signal.SIGTERM, _pass_on)
    try:
        detectron2_launch(
            main,
            gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except InputError as error:
        print(f"Error: {one_sentence(error)}", file=sys.stderr)
        return 1
    except ProcessRaisedException as error:
        if f"{InputError.__name__}: " not in str(error).strip().splitlines()[-1]:
            raise
        print(f"Error: {one_sentence(error)}", file=sys.stderr)
        return 1
    except ProcessExitedException as error:
        if error.signal_name is None:  # that process has said why
            return error.exit_code
        print(
            f"Error: a training process was killed ({error.signal_name}), probably for lack of "
            "memory; lower SOLVER.IMS_PER_BATCH or DATALOADER.NUM_WORKERS.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _pass_on(number, frame):
    """The children of a launch on several GPUs save a checkpoint; their parent waits for them."""
    for child in multiprocessing.active_children():
        os.kill(child.pid, number)
