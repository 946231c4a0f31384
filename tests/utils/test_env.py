"""What commands do to their process."""

from types import SimpleNamespace

import pytest

from efficientps_d2.utils import env
from efficientps_d2.utils.env import keep_freed_memory


@pytest.mark.parametrize(("largest", "tried"), [(2**31 - 1, 1), (2**25, 2), (0, 2)])
def test_kept_memory(monkeypatch, largest, tried):
    """Trimming without a threshold that glibc takes would slow everything down."""
    calls = []

    def mallopt(option, value):
        calls.append((option, value))
        return int(value <= largest)

    monkeypatch.setattr(env.sys, "platform", "linux")
    monkeypatch.setattr(env.ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    keep_freed_memory()
    thresholds = [value for option, value in calls if option == env.MMAP_THRESHOLD]
    assert len(thresholds) == tried
    assert (env.TRIM_THRESHOLD in dict(calls)) == (largest > 0)
