"""Config values that are "auto": taken from an earlier run, or chosen from the training data."""

import logging
import os

from detectron2.config import CfgNode
from detectron2.utils import comm

from efficientps_d2.config.check import check_values
from efficientps_d2.config.keys import flat_items, value_of
from efficientps_d2.data.checks.dataset import Statistics, check_dataset
from efficientps_d2.data.checks.listing import find_dataset, read_listing
from efficientps_d2.data.checks.problems import KINDS
from efficientps_d2.data.checks.suggest import Suggestion, suggest_config
from efficientps_d2.data.datasets.register import check_dataset_files
from efficientps_d2.engine.run_folder import config_of_run
from efficientps_d2_runtime.errors import InputError

logger = logging.getLogger(__name__)

# Problems of images that mean that the config is for others.
OF_FORMAT = ("image of bands", "image mode that loses values", "unusable bands", "number of bands")


def fill_auto(cfg: CfgNode, run_folder: str | None = None) -> list[Suggestion]:
    """Give the keys in ``cfg.AUTO`` a value, and empty it.

    Args:
        cfg: changed.
        run_folder: of the run whose weights are used, which only work with its values: they are
            read from its ``config.yaml``. None for a new training: the main process then reads the
            images of ``DATASETS.TRAIN``.

    Returns:
        What was chosen, for the log.

    Raises:
        InputError: if the data do not tell a value, or the config or data are not there.
    """
    if not cfg.AUTO:
        return []
    if run_folder is not None:
        return use_suggestions(cfg, _values_of_run(cfg.AUTO, run_folder))
    if not cfg.DATASETS.TRAIN:
        raise InputError(
            "DATASETS.TRAIN is empty; name the training data, such as "
            "DATASETS.TRAIN \"('mine_train',)\"."
        )
    suggestions = None
    if comm.is_main_process():
        statistics = Statistics.of_all(
            [_statistics(name, cfg.INPUT.FORMAT) for name in cfg.DATASETS.TRAIN]
        )
        given = {key: value for key, value in flat_items(cfg) if key not in cfg.AUTO}
        suggestions = suggest_config(statistics, given)
    used = use_suggestions(cfg, comm.all_gather(suggestions)[0])
    if not cfg.AUTO:
        check_values(cfg)  # also of what depends on the number of bands
    if cfg.AUTO:
        raise InputError(
            f'{cfg.AUTO[0]} is "auto", but {", ".join(cfg.DATASETS.TRAIN)} gives no value '
            "for it; give one."
        )
    return used


def _values_of_run(keys: list[str], folder: str) -> list[Suggestion]:
    file, run = os.path.join(folder, "config.yaml"), config_of_run(folder)
    if run is None:
        raise InputError(
            f'{keys[0]} is "auto", but {file}, where the value of the weights would be, '
            "does not exist; put the config.yaml of their training there, or give a value."
        )
    return [Suggestion(key, value_of(run, key), f"as in {file}") for key in keys]


def use_suggestions(cfg: CfgNode, suggestions: list[Suggestion]) -> list[Suggestion]:
    """Give keys in ``cfg.AUTO`` their suggested values; returns the suggestions that were used."""
    used = [suggestion for suggestion in suggestions if suggestion.key in cfg.AUTO]
    for suggestion in used:
        cfg.merge_from_list([suggestion.key, suggestion.value])
        cfg.AUTO.remove(suggestion.key)
    return used


def _statistics(name: str, image_format: str) -> Statistics:
    check_dataset_files(name)
    result = check_dataset(read_listing(find_dataset(name)), os.cpu_count(), image_format)
    for problem in result.problems:
        if problem.kind in OF_FORMAT:
            raise InputError(f"{problem.file} {problem.text}.")
    errors = sum(KINDS[problem.kind].is_error for problem in result.problems)
    if result.problems:
        logger.warning(
            'Dataset "%s": %s, %s; "efficientps-d2 check %s" lists them.',
            name,
            _count(errors, "error"),
            _count(len(result.problems) - errors, "warning"),
            name,
        )
    return result.statistics


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
