"""Ray on this machine or on a cluster, and how it is shared among workers."""

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tqdm import tqdm

from efficientps_d2_runtime.errors import InputError, one_line

MOST_CPUS = 4  # of a worker, if nobody has said how many workers
SECONDS = 5  # until a cluster answers
PAUSE = 1  # seconds between looks at the ledger
STORE = 300e6  # bytes of Ray's store on a single machine, besides the model


@dataclass(frozen=True)
class Resources:
    """What each of several workers gets."""

    workers: int
    cpus: int
    gpus: int = 0


@contextmanager
def running_ray(address: str, model_bytes: int) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine until the block ends.

    Args:
        address: HOST:PORT, or "auto" on a machine of the cluster; by default that of the
            environment variable RAY_ADDRESS, or none.
        model_bytes: of what all workers get.

    Raises:
        InputError: if the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data makes Ray warn of itself
    # Printed of a worker that cannot load the model; the reason comes as an exception, too.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", r"get_location failed\. There are infinite")
    import ray
    from ray.data import DataContext

    if ray.is_initialized():
        raise InputError("Ray runs in this process already; call ray.shutdown() before.")
    source = "--address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise InputError(
            f"{address} is an address of Ray Client, which Ray Data does not work over; run the "
            'command on a machine of the cluster with --address auto, or by "ray job submit".'
        )
    if address not in ("", "local", "auto"):
        _require_answer(source, address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not address:
        # Else other programs on this machine would leave workers almost no time (nice 15).
        os.environ.setdefault("RAY_worker_niceness", "0")
        address, quiet["include_dashboard"] = "local", False
        quiet["object_store_memory"] = int(STORE + model_bytes)
    _start(address, **quiet)
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():  # Ray has set its own
            signal.signal(number, handler)
    context = DataContext.get_current()
    context.enable_progress_bars = False  # they count shards, ours images
    context.execution_no_progress_timeout_s = -1  # a shard may take long
    try:
        with _silent_console(logging.getLogger("ray.data")):
            yield
    finally:
        with _hidden_stderr():  # of its complaints about work that is not done
            ray.shutdown()


def _start(address: str, **options) -> None:
    """Connect to Ray, or start it; once more if this machine was too busy."""
    import ray

    for may_repeat in (address == "local", False):
        try:
            with _hidden_stderr():  # of its C++ part, which no setting makes silent
                ray.init(address, **options)
            return
        except Exception as error:  # of many kinds, with no base of their own
            ray.shutdown()  # what has begun to start
            if may_repeat:
                continue
            reason = one_line(error)[:200].rstrip(".")
            where, cure = "on this machine", "end other programs, or try again"
            if address != "local":
                where, cure = f"at {address}", "check that it runs there, in the same version"
            raise InputError(f"Ray cannot be used {where} ({reason}); {cure}.") from error


def _require_answer(source: str, address: str) -> None:
    """Fail at once where nobody answers, which Ray tries for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        reason = one_line(error).rstrip(".")
        raise InputError(
            f"{source} {address} does not answer ({reason}); give HOST:PORT of a Ray cluster that "
            "runs, or auto on one of its machines."
        ) from error


@contextmanager
def _silent_console(logger: logging.Logger) -> Iterator[None]:
    """Write what is logged to files alone, if the logger has any."""
    consoles = [h for h in logger.handlers if isinstance(h, logging.StreamHandler)]
    levels = [handler.level for handler in consoles]
    for handler in consoles:
        handler.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for handler, level in zip(consoles, levels, strict=True):
            handler.setLevel(level)


@contextmanager
def _hidden_stderr() -> Iterator[None]:
    """Send what any code writes to the second stream to nowhere."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def nodes() -> list[dict]:
    """The resources of each living machine."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def share_out(nodes: list[dict], asked: int, uses_gpu: bool = True) -> Resources:
    """How many workers there are, and what each gets.

    Args:
        nodes: "CPU" and "GPU" of each machine.
        asked: number of workers, 0 for one that fits.
        uses_gpu: whether a worker computes on a GPU, if there is one.

    Raises:
        InputError: if there are not so many.
    """
    if uses_gpu and (gpus := sum(int(node.get("GPU", 0)) for node in nodes)):
        if asked > gpus:
            raise InputError(f"--workers is {asked}, but there are {gpus} GPUs; give fewer.")
        cpus = min(int(n.get("CPU", 0) // n["GPU"]) for n in nodes if n.get("GPU"))
        return Resources(asked or gpus, max(1, min(cpus, MOST_CPUS)), 1)
    cores = [int(node.get("CPU", 0)) for node in nodes]
    if asked > sum(cores) or not sum(cores):
        raise InputError(
            f"--workers is {asked or 1}, but there are {sum(cores)} cores; give fewer workers."
        )
    cpus = sum(cores) // asked if asked else min(MOST_CPUS, *(c for c in cores if c))
    while asked and sum(c // cpus for c in cores) < asked:
        cpus -= 1
    return Resources(asked or sum(c // cpus for c in cores), cpus)


@contextmanager
def following(ledger, total: int) -> Iterator[tqdm]:
    """A bar that follows the ledger."""
    import ray

    ended = threading.Event()
    with tqdm(total=total, desc="predicting", unit="image", smoothing=0.05) as bar:

        def follow() -> None:
            while not ended.wait(PAUSE):
                try:
                    done = ray.get(ledger.done.remote())
                except ray.exceptions.RayError:  # what ends the job is told elsewhere
                    return
                if not done:
                    bar.unpause()  # the model is loaded; rates are those of images
                if done > bar.n:  # a repeated shard begins again
                    bar.update(done - bar.n)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield bar
        finally:
            ended.set()
            thread.join()


def explained(error: Exception) -> InputError:
    """The sentence behind an error of Ray."""
    if said := re.search(rf"{InputError.__name__}: (.+)", str(error)):  # Ray keeps but the text
        return InputError(said[1])
    if missing := re.search(r"No module named '(\w+)", str(error)):
        return InputError(
            f"A machine of the cluster has no package {missing[1]}; install this project on all of "
            "them, in the same version."
        )
    return InputError(
        f"Ray has ended the work ({one_line(error)[-300:].rstrip('.')}); its logs are in "
        "/tmp/ray/session_latest/logs of the machine. The same command goes on."
    )
