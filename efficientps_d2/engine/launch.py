"""Detectron2's launch, with one sentence for mistakes and signals that reach every process."""

import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

import torch
from detectron2.engine import launch as detectron2_launch
from detectron2.utils import comm
from torch.distributed.elastic.multiprocessing.errors import record
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from efficientps_d2.engine.arguments import TIMEOUT
from efficientps_d2_runtime.errors import InputError, one_sentence

NO_ANSWER = re.compile("timed out waiting", re.IGNORECASE)  # of gloo
LOOK = 0.5  # seconds between looks at the agent of torchrun
# Flags, and the least that each can be.
NUMBERS = {"num_gpus": 0, "num_processes": 0, "num_machines": 1, "timeout": 1}


def launch(main: Callable[[Namespace], object], args: Namespace) -> int:
    """Call ``main(args)`` in one or several processes of this machine; returns the exit status.

    There are ``--num-gpus`` on CUDA, ``--num-processes`` on CPUs. Below torchrun, which has
    started the processes itself, this is one of them.

    Args:
        main: a function of a module, which other processes can import.
        args: flags of :func:`default_argument_parser`.
    """
    try:
        if "TORCHELASTIC_RUN_ID" in os.environ:
            _check_numbers(args)
            _join_torchrun(args)
            # torchrun shows the error that came first.
            record(partial(_main_that_waits, main))(args)
            return 0
        _check_flags(args)
        processes = _number_of_processes(args)
        if processes > 1:
            signal.signal(signal.SIGINT, _pass_on)
            signal.signal(signal.SIGTERM, _pass_on)
        detectron2_launch(
            partial(_main_of_process, main, processes),
            processes,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
            timeout=_timeout(args),
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


def _check_numbers(args: Namespace) -> None:
    for flag, least in NUMBERS.items():
        value = getattr(args, flag, least)  # callers with Detectron2's own parser lack one
        if value < least:
            raise InputError(
                f"--{flag.replace('_', '-')} is {value}; give a whole number from {least}."
            )


def _check_flags(args: Namespace) -> None:
    _check_numbers(args)
    if not 0 <= args.machine_rank < args.num_machines:
        raise InputError(
            f"--machine-rank is {args.machine_rank}; of {args.num_machines} machines it is from 0 "
            f"to {args.num_machines - 1}."
        )
    if args.dist_url != "auto" and not _is_meeting_point(args.dist_url):
        raise InputError(f"--dist-url is {args.dist_url!r}; give tcp://ADDRESS:PORT.")
    if args.num_machines > 1 and args.dist_url == "auto":
        raise InputError(
            "--num-machines needs --dist-url, the same on all of them, such as "
            "tcp://ADDRESS_OF_MACHINE_0:PORT."
        )


def _is_meeting_point(url: str) -> bool:
    """Whether it is tcp://ADDRESS:PORT or file:///FILE; torchrun alone gives env://."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # brackets, or a port that is none
        return False
    if parts.scheme == "file":
        return bool(parts.path.strip("/"))
    return parts.scheme == "tcp" and bool(parts.hostname and port)


def _number_of_processes(args: Namespace) -> int:
    gpus, asked = torch.cuda.device_count(), getattr(args, "num_processes", 0)
    if not gpus:
        return asked or 1
    if asked not in (0, args.num_gpus):
        raise InputError(f"--num-processes {asked} is for CPUs; on CUDA give --num-gpus {asked}.")
    if args.num_gpus > gpus:
        raise InputError(f"--num-gpus is {args.num_gpus}, but there are {gpus}; give fewer.")
    return args.num_gpus


def _main_of_process(main: Callable[[Namespace], object], processes: int, args: Namespace) -> None:
    """Share the cores among the processes of this machine."""
    if processes > 1 and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // processes))
    _main_that_waits(main, args)


def _main_that_waits(main: Callable[[Namespace], object], args: Namespace) -> None:
    """Call ``main(args)``; say so if another process does not answer."""
    try:
        main(args)
    except RuntimeError as error:
        if not NO_ANSWER.search(str(error)):
            raise
        seconds = round(_timeout(args).total_seconds())
        raise InputError(
            f"Another process has not answered for {seconds} seconds; look into the logs of all "
            "machines, or give a larger --timeout."
        ) from error


def _join_torchrun(args: Namespace) -> None:
    """Join the processes that torchrun has started; after a restart, the training goes on."""
    cuda, local_rank = torch.cuda.is_available(), int(os.environ["LOCAL_RANK"])
    torch.distributed.init_process_group("nccl" if cuda else "gloo", timeout=_timeout(args))
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
    if cuda:
        torch.cuda.set_device(local_rank)
    threading.Thread(target=_end_with_torchrun, args=(os.getppid(),), daemon=True).start()
    # An agent that is itself new, on another machine, counts from 0.
    restarts = max(comm.all_gather(int(os.environ["TORCHELASTIC_RESTART_COUNT"])))
    if restarts and not args.eval_only:
        args.resume = True


def _end_with_torchrun(agent: int) -> None:
    """End when the agent is killed: another that replaces it starts a process of its own."""
    while os.getppid() == agent:
        time.sleep(LOOK)
    os._exit(1)


def _timeout(args: Namespace) -> timedelta:
    """How long a process waits for the others."""
    return timedelta(seconds=getattr(args, "timeout", TIMEOUT))


def _pass_on(number, frame):
    """The processes of a launch save a checkpoint; their parent waits for them."""
    for child in multiprocessing.active_children():
        os.kill(child.pid, number)
