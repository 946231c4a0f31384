"""Commands that a user can paste into a shell."""

import os
import re
import shlex
from collections.abc import Iterable

VARIABLE = "DETECTRON2_DATASETS"


def shell_command(words: Iterable[str]) -> str:
    """One line, which also sets where the datasets are if this process was told.

    Tuples of names, such as ('mine_train',), stand in double quotes, as people write them.
    """
    root = os.getenv(VARIABLE)
    start = [f"{VARIABLE}={_quoted(root)}"] if root else []
    return " ".join([*start, *map(_quoted, words)])


def _quoted(word: str) -> str:
    plain = "'" in word and not re.search(r'["$`\\!]', word)
    return f'"{word}"' if plain else shlex.quote(word)
