"""How commands end: mistakes in a sentence, the project's own with a traceback."""

import errno
import io
import subprocess
import sys
import urllib.error

import pytest

from efficientps_d2_runtime.errors import InputError, exit_status


def raising(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("x.png is damaged; repair it."), 1, "Error: x.png is damaged; repair it."),
        (PermissionError(13, "Permission denied", "/a"), 1, "Error: /a cannot be used (Permission"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "A file cannot be used (No space"),
        (KeyboardInterrupt(), 130, "Stopped."),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(capsys, error, status, message):
    assert exit_status(raising(error)) == status
    assert message in capsys.readouterr().err


def test_other_errors_are_not_taken_for_damaged_files():
    with pytest.raises(urllib.error.URLError):
        exit_status(raising(urllib.error.URLError("Name or service not known")))


def test_a_terminal_that_lacks_letters(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    assert exit_status(lambda: print("straße", flush=True) or 0) == 0
    assert written.getvalue() == b"stra\\xdfe\n"


def test_a_reader_that_has_seen_enough():
    code = "from efficientps_d2_runtime.errors import exit_status\n"
    code += "def flood():\n    for _ in range(99999): print('x' * 99)\n    return 0\n"
    code += "raise SystemExit(exit_status(flood))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == 0
