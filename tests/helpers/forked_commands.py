"""Commands in processes of their own, without the seconds in which each would import PyTorch.

A server that has imported everything forks them, as `multiprocessing` does it: they get signals,
end and leave files as any process, but for handlers of `atexit`, which do not run.
"""

import atexit
import contextlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from efficientps_d2_cli.main import main as efficientps_d2

PRELOADED = (
    "efficientps_d2.engine.trainer",
    "efficientps_d2.engine.setup",
    "efficientps_d2.prediction.files",
    "efficientps_d2_cli.main",
    "scenes",
)


def forkserver() -> multiprocessing.context.ForkServerContext:
    """The context whose processes have all modules already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


class Command:
    """A command that runs; what it prints is in the file ``output``."""

    def __init__(
        self,
        arguments: list,
        output: Path,
        folder: Path,
        environment: Mapping[str, str] | None = None,
        main: Callable[[list[str]], int] = efficientps_d2,
        errors: Path | None = None,
        file_limit: int | None = None,
    ):
        """
        Args:
            arguments: of ``main``.
            output: of both streams, or without ``errors``.
            folder: it runs in.
            environment: variables besides those of this process.
            main: returns an exit status.
            errors: another file for the second stream.
            file_limit: bytes that it can write to a file, as on a full disk.
        """
        self.output = output
        output.write_text("")  # nobody should take what an earlier one has printed for its own
        variables = {**os.environ, **(environment or {})}
        given = (main, [*map(str, arguments)], (output, errors), folder, variables, file_limit)
        self._process = forkserver().Process(target=_run, args=given)
        self._process.start()
        self.pid = self._process.pid
        atexit.register(self._end)  # after a test that failed; Python would wait for it

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, seconds: float = 300) -> int:
        """The exit status, or minus the signal that ended it."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"still running\n{self.text()[-3000:]}"
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """To it and to its children, as from a terminal; nothing once it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def text(self) -> str:
        return self.output.read_text()

    def _end(self) -> None:
        if self.poll() is None:
            self.send_signal(signal.SIGKILL)


def _run(main, arguments, files, folder, variables, file_limit) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
    multiprocessing.set_start_method(None, force=True)  # the usual one
    for stream, name in ((1, files[0]), (2, files[1])):
        if name:
            with open(name, "w") as file:
                os.dup2(file.fileno(), stream)
    if not files[1]:
        os.dup2(1, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["efficientps-d2", *arguments]
    if file_limit is not None:
        sys.dont_write_bytecode = True  # Python would leave it cut off
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.exit(main(arguments))
