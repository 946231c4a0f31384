"""These tests compare a device with the CPU: there is nothing to compare without one."""

import os

collect_ignore_glob = [] if "TEST_DEVICE" in os.environ else ["test_*.py"]
