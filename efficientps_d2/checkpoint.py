"""A checkpointer that neither loads nor saves what is of no use."""

import torch
from detectron2.checkpoint import DetectionCheckpointer

from .errors import InputError


class FittingCheckpointer(DetectionCheckpointer):
    """Loads weights only if they fit.

    For finetuning, parameters of another shape are named by Detectron2's log and start anew, but at
    least one must match. With ``strict``, for evaluation and resuming, all must.
    """

    strict = False

    def save(self, name: str, **kwargs):
        """As in the base class; diverged weights never replace good ones as the last checkpoint."""
        bad = [k for k, v in self.model.state_dict().items() if not torch.isfinite(v).all()]
        if bad:
            raise SystemExit(
                f"Error: {bad[0]} became NaN or infinite, so {name} was not saved; lower "
                "SOLVER.BASE_LR or lengthen SOLVER.WARMUP_ITERS."
            )
        super().save(name, **kwargs)

    def _load_file(self, filename: str):
        try:
            return super()._load_file(filename)
        except FileNotFoundError:
            raise
        except Exception as error:  # torch.load raises many kinds for damaged files
            raise InputError(
                f"{filename} cannot be read as a checkpoint; it may be truncated or of another "
                "kind."
            ) from error

    def _load_model(self, checkpoint):
        expected = set(self.model.state_dict())
        incompatible = super()._load_model(checkpoint)
        wrong_shapes = [key for key, *_ in incompatible.incorrect_shapes]
        lost = [k for k in [*wrong_shapes, *incompatible.missing_keys] if k in expected]
        if lost and (self.strict or len(lost) == len(expected)):
            what = "has another shape" if lost[0] in wrong_shapes else "is missing"
            raise InputError(
                f"The checkpoint does not fit this config: {lost[0]} {what} in it ({len(lost)} of "
                f"{len(expected)} tensors); use the config it was trained with."
            )
        return incompatible
