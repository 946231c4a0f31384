"""A checkpointer that neither loads nor saves what is of no use."""

import os
from pathlib import Path

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from .config import naming_bad_keys
from .errors import InputError


class FittingCheckpointer(DetectionCheckpointer):
    """Loads weights only if they fit.

    For finetuning, parameters of another shape are named by Detectron2's log and start anew, but at
    least one must match. With ``strict``, for evaluation and resuming, all must.
    """

    strict = False

    def save(self, name: str, **kwargs):
        """As in the base class; diverged weights never replace good ones as the last checkpoint."""
        self._refuse_diverged(name)
        super().save(name, **kwargs)

    def save_weights(self, name: str, **content) -> None:
        """Save the weights alone, which ``--resume`` does not look at, and ``content``."""
        self._refuse_diverged(name)
        if not self.save_to_disk:
            return
        partial = Path(self.save_dir, f"{name}.partial")
        torch.save({"model": self.model.state_dict(), **content}, partial)
        partial.replace(Path(self.save_dir, f"{name}.pth"))

    def _refuse_diverged(self, name: str) -> None:
        bad = [k for k, v in self.model.state_dict().items() if not torch.isfinite(v).all()]
        if bad:
            raise SystemExit(
                f"Error: {bad[0]} became NaN or infinite, so {name} was not saved; lower "
                "SOLVER.BASE_LR or lengthen SOLVER.WARMUP_ITERS."
            )

    def _load_file(self, filename: str):
        sentence = (
            f"{filename} cannot be read as a checkpoint; it may be truncated or of another kind."
        )
        try:
            content = super()._load_file(filename)
        except FileNotFoundError:
            raise
        except Exception as error:  # torch.load raises many kinds for damaged files
            raise InputError(sentence) from error
        if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
            raise InputError(sentence)
        return content

    def _load_model(self, checkpoint):
        expected = set(self.model.state_dict())
        incompatible = super()._load_model(checkpoint)
        wrong_shapes = [key for key, *_ in incompatible.incorrect_shapes]
        # A tensor of another shape is missing, too, once it has been taken out.
        lost = dict.fromkeys([*wrong_shapes, *incompatible.missing_keys])
        lost = [key for key in lost if key in expected]
        if lost and (self.strict or len(lost) == len(expected)):
            what = "has another shape" if lost[0] in wrong_shapes else "is missing"
            raise InputError(
                f"The checkpoint does not fit this config: {lost[0]} {what} in it ({len(lost)} of "
                f"{len(expected)} tensors); use the config it was trained with."
            )
        return incompatible


def require_weights(cfg: CfgNode, config_file: str = "") -> None:
    """Fail if a config has no weights; names those that a run has left beside its config file."""
    if not cfg.MODEL.WEIGHTS:
        beside = Path(config_file).parent / "model_final.pth"
        weights = str(beside) if config_file and beside.is_file() else "FILE"
        raise InputError(f"MODEL.WEIGHTS is empty; add --opts MODEL.WEIGHTS {weights}.")


def load_trained_model(cfg: CfgNode) -> nn.Module:
    """The model of a config in evaluation mode, with the weights of ``MODEL.WEIGHTS``.

    Raises:
        InputError: if there is no such file, any tensor does not fit, or the config names
            something that does not exist.
    """
    require_weights(cfg)
    weights = cfg.MODEL.WEIGHTS
    if "://" not in weights and not os.path.isfile(weights):
        raise InputError(f"MODEL.WEIGHTS {weights} does not exist; give a checkpoint file.")
    with naming_bad_keys(cfg):
        model = build_model(cfg).eval()
    checkpointer = FittingCheckpointer(model)
    checkpointer.strict = True
    checkpointer.load(weights)
    return model
