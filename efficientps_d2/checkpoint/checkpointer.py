"""A checkpointer that refuses weights that do not fit, and saves no NaN."""

import logging
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from torch import Tensor, nn

from efficientps_d2.checkpoint.checkpoint_files import (
    FINAL,
    LAST,
    has_checkpoint,
    newest_checkpoint,
)
from efficientps_d2.checkpoint.stem import spread_over_bands
from efficientps_d2.checkpoint.weights_address import HTTP, require_file
from efficientps_d2.checkpoint.weights_file import read_weights
from efficientps_d2.config.building import build_network, check_network
from efficientps_d2_runtime.errors import InputError
from efficientps_d2_runtime.files import replacing_file

BEST = "model_best"  # the weights that were best in validation, of which --resume knows nothing
STATISTICS = ("running_mean", "running_var")
LINEAR = "is_linear"  # the buffer of a 2-way FPN without LeakyReLU


class FittingCheckpointer(DetectionCheckpointer):
    """Loads weights only if they fit.

    For finetuning, RGB weights are spread over other bands; parameters of another shape are named
    in the log and keep their values, but at least one must match. With ``strict``, all must.
    """

    strict = False
    is_saving = False
    saved_iteration: int | None = None  # of the last checkpoint that was saved
    after_save: Callable[[], None] | None = None

    def save(self, name: str, **kwargs):
        """As in the base class; a checkpoint is whole or absent, and never of diverged weights."""
        self._refuse_diverged(name)
        if self.save_dir and self.save_to_disk:
            states = {key: value.state_dict() for key, value in self.checkpointables.items()}
            file = Path(self.save_dir, f"{name}.pth")
            self._write(file, {"model": self.model.state_dict(), **states, **kwargs})
            with self._saving():
                self.tag_last_checkpoint(file.name)
            self.logger.info("Saved %s.", file)
        self.saved_iteration = kwargs.get("iteration")
        if self.after_save:
            self.after_save()

    def save_weights(self, name: str, **content) -> None:
        """Save the weights alone, which ``--resume`` does not look at, and ``content``."""
        self._refuse_diverged(name)
        if self.save_to_disk:
            file = Path(self.save_dir, f"{name}.pth")
            self._write(file, {"model": self.model.state_dict(), **content})

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """As in the base class, but the file is whole at any moment."""
        with replacing_file(Path(self.save_dir, LAST)) as partial:
            partial.write_text(last_filename_basename, encoding="utf-8")

    def _write(self, file: Path, content: dict) -> None:
        try:
            with self._saving(), replacing_file(file) as partial, open(partial, "wb") as opened:
                torch.save(content, opened)
        except (OSError, RuntimeError) as error:  # PyTorch's, whose text says nothing of disks
            reason = getattr(error, "strerror", None) or "the disk is full or was lost"
            cure = "make room and run the same command with --resume"
            raise SystemExit(f"Error: {file} could not be saved ({reason}); {cure}.") from error

    @contextmanager
    def _saving(self):
        self.is_saving = True
        try:
            yield
        finally:
            self.is_saving = False

    def _refuse_diverged(self, name: str) -> None:
        bad = [k for k, v in self.model.state_dict().items() if not torch.isfinite(v).all()]
        if bad:
            raise SystemExit(
                f"Error: {bad[0]} became NaN or infinite, so {name} was not saved; lower "
                "SOLVER.BASE_LR or lengthen SOLVER.WARMUP_ITERS."
            )

    def load(self, path: str, *args, **kwargs) -> dict:
        """As in the base class, but silent without a path, and of use after a file that failed."""
        if not path:
            return {}
        try:
            return super().load(path, *args, **kwargs)
        finally:
            self._parsed_url_during_load = None

    def has_checkpoint(self) -> bool:
        """See :func:`has_checkpoint`."""
        return has_checkpoint(self.save_dir)

    def get_checkpoint_file(self) -> str:
        """See :func:`newest_checkpoint`; "" if there is none."""
        return str(newest_checkpoint(self.save_dir) or "")

    def _load_file(self, filename: str) -> dict:
        """Reads what the base class does, but nothing that is pickled into it is executed."""
        try:
            content = read_weights(filename)
        except InputError as error:
            url = self._parsed_url_during_load
            if url is None or url.scheme not in HTTP:
                raise
            os.remove(filename)  # of the cache, or it would never be fetched again
            raise InputError(f"{url.geturl()}: {error}") from error
        try:
            content = _of_zoo(content, Path(filename).suffix)
            model = content["model"]
            for name, value in model.items():
                if not isinstance(name, str) or not isinstance(value, np.ndarray | Tensor):
                    raise TypeError
                model[name] = torch.as_tensor(value)
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"{filename} holds no state dict of tensors; give a checkpoint."
            ) from error
        url = self._parsed_url_during_load
        if url is not None and url.query:
            if url.query != "matching_heuristics=True":
                raise InputError(f"MODEL.WEIGHTS {url.geturl()}: leave ?{url.query} out.")
            content["matching_heuristics"] = True
        return content

    def _load_model(self, checkpoint):
        expected = self.model.state_dict()
        if not self.strict:
            spread_over_bands(checkpoint["model"], expected)
        incompatible = super()._load_model(checkpoint)
        wrong_shapes = [key for key, *_ in incompatible.incorrect_shapes]
        # A tensor of another shape is missing, too, once it has been taken out.
        all_lost = dict.fromkeys([*wrong_shapes, *incompatible.missing_keys])
        lost = [key for key in all_lost if key in expected]
        # A batch norm's scale and bias fit a group norm, too, which computes something else.
        statistics = [k for k in incompatible.unexpected_keys if k.endswith(STATISTICS)]
        if self.strict and statistics:
            raise InputError(
                f"The checkpoint does not fit this config: it has {statistics[0]}, so its network "
                "has other norms; use the config it was trained with."
            )
        self._mind_other_pyramid(lost, incompatible.unexpected_keys)
        if lost and (self.strict or len(lost) == len(expected)):
            what = "has another shape" if lost[0] in wrong_shapes else "is missing"
            raise InputError(
                f"The checkpoint does not fit this config: {lost[0]} {what} in it ({len(lost)} of "
                f"{len(expected)} tensors); use the config it was trained with."
            )
        return incompatible

    def _mind_other_pyramid(self, lost: list[str], unexpected: list[str]) -> None:
        """Look for weights of a 2-way FPN with other activations, which fit all the same."""
        is_linear = any(key.endswith(LINEAR) for key in unexpected)
        if not is_linear and not any(key.endswith(LINEAR) for key in lost):
            return
        if any(".top_down_laterals." in key for key in lost):
            return  # weights without such a pyramid
        text = f"2-way FPN has {'no ' * is_linear}LeakyReLU"
        cure = f"set MODEL.EFFICIENTPS.LINEAR_FPN {is_linear}"
        if not self.strict:
            logging.getLogger(__name__).warning("The checkpoint's %s; %s to keep that.", text, cure)
        elif len(lost) == (not is_linear):  # nothing else is amiss
            raise InputError(f"The checkpoint does not fit this config: its {text}; {cure}.")


def _of_zoo(content: dict, suffix: str) -> dict:
    """``content`` with the keys of Detectron2's checkpoints; those of other projects lack them."""
    if suffix == ".pyth":  # of pycls
        state = content["model_state"]
        model = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
        return {"model": model, "__author__": "pycls", "matching_heuristics": True}
    if suffix == ".pkl" and not isinstance(content.get("model"), dict):
        model = content.get("blobs", content)
        model = {k: v for k, v in model.items() if not k.endswith("_momentum")}
        return {"model": model, "__author__": "Caffe2", "matching_heuristics": True}
    return content if "model" in content else {"model": content}


def require_weights(cfg: CfgNode, config_file: str = "") -> None:
    """Fail if a config has no weights of a whole network; names those beside its config file."""
    for_training = "://ImageNetPretrained/" in cfg.MODEL.WEIGHTS
    if for_training or not cfg.MODEL.WEIGHTS:
        names = (BEST, FINAL) if config_file else ()
        beside = [Path(config_file).parent / f"{name}.pth" for name in names]
        weights = next((str(file) for file in beside if file.is_file()), "FILE")
        kind = "of ImageNet, for a training to begin with" if for_training else "empty"
        raise InputError(f"MODEL.WEIGHTS is {kind}; add --opts MODEL.WEIGHTS {weights}.")


def load_trained_model(cfg: CfgNode) -> nn.Module:
    """The model of a config in evaluation mode, with the weights of ``MODEL.WEIGHTS``.

    Raises:
        InputError: if there is no such file, any tensor does not fit, or the config names
            something that does not exist.
    """
    require_weights(cfg)
    weights = cfg.MODEL.WEIGHTS
    require_file(weights)
    check_network(cfg)
    model = build_network(cfg).eval()
    checkpointer = FittingCheckpointer(model)
    checkpointer.strict = True
    checkpointer.load(weights)
    return model
