"""Commands that a user can paste into a shell."""

import os
import re
import shlex
from collections.abc import Iterable

VARIABLE = "DETECTRON2_DATASETS"


def shell_command(words: Iterable[str], needs_datasets: bool = False) -> str:
    """One line; if it needs datasets, it also sets where they are, as this process was told."""
    root = os.getenv(VARIABLE) if needs_datasets else None
    start = [f"{VARIABLE}={quoted(root)}"] if root else []
    return " ".join([*start, *map(quoted, words)])


def quoted(word: str) -> str:
    """As ``shlex.quote``, but tuples, such as ('mine_train',), stand in double quotes."""
    in_double_quotes = re.search("['(]", word) and not re.search(r'["$`\\!]', word)
    return f'"{word}"' if in_double_quotes else shlex.quote(word)
