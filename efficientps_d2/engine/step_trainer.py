"""The steps of a training: in parts if the memory is small, in mixed precision on CUDA."""

import contextlib
import time

import torch
from detectron2.config import CfgNode
from detectron2.engine import SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from efficientps_d2.modeling.recomputing import recompute_blocks
from efficientps_d2_runtime.errors import InputError


class StepTrainer(SimpleTrainer):
    """Detectron2's ``SimpleTrainer`` and ``AMPTrainer`` in one, with gradient accumulation."""

    def __init__(
        self,
        model: nn.Module,
        data_loader,
        optimizer: torch.optim.Optimizer,
        *,
        parts: int = 1,
        precision: torch.dtype | None = None,
    ):
        """
        Args:
            model: takes a list of images and gives a dict of losses.
            data_loader: gives lists of images, whose number is a multiple of ``parts``.
            optimizer: makes one step for each list.
            parts: how many parts a list is computed in, one after the other. Each holds memory for
                its own images only. Gradients and losses are means over the parts.
            precision: of autocast, float16 or bfloat16; None for none.
        """
        super().__init__(model, data_loader, optimizer)
        self.parts, self.precision = parts, precision
        self.device = next(model.parameters()).device.type
        # Gradients of float16 may be too small for it.
        self.grad_scaler = torch.GradScaler(self.device, enabled=precision is torch.float16)

    @classmethod
    def of_config(cls, cfg: CfgNode, model: nn.Module, data_loader, optimizer) -> "StepTrainer":
        """As ``cfg.SOLVER`` says, which may let the model compute its blocks twice.

        Raises:
            InputError: if the images of a process cannot be divided into equal parts.
        """
        images, parts = cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.GRADIENT_ACCUMULATION
        images //= comm.get_world_size()
        if images % parts:
            raise InputError(
                f"SOLVER.GRADIENT_ACCUMULATION is {parts}, but each process has {images} images of "
                "a step (SOLVER.IMS_PER_BATCH, scaled by SOLVER.REFERENCE_WORLD_SIZE); give a "
                "number that divides these."
            )
        if cfg.SOLVER.ACTIVATION_CHECKPOINTING:
            recompute_blocks(model)
        amp = cfg.SOLVER.AMP
        precision = getattr(torch, amp.DTYPE) if amp.ENABLED else None
        return cls(model, data_loader, optimizer, parts=parts, precision=precision)

    def run_step(self):
        assert self.model.training, "the model was changed to eval mode"
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self.optimizer.zero_grad()
        size = len(batch) // self.parts
        parts = [batch[i : i + size] for i in range(0, len(batch), size)]
        found = [self._backward(part, last=part is parts[-1]) for part in parts]
        means = {name: sum(losses[name] for losses in found) for name in found[0]}
        self.after_backward()
        self._write_metrics(means, data_time)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _backward(self, part: list[dict], last: bool) -> dict[str, Tensor]:
        """Add the gradients of a part; returns what it adds to the mean losses."""
        waits = isinstance(self.model, DistributedDataParallel) and not last
        with self.model.no_sync() if waits else contextlib.nullcontext():
            with torch.autocast(self.device, self.precision, enabled=self.precision is not None):
                losses = self.model(part)
            losses = {name: loss / self.parts for name, loss in losses.items()}
            self.grad_scaler.scale(sum(losses.values())).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def state_dict(self):
        state = super().state_dict()
        if self.grad_scaler.is_enabled():
            state["grad_scaler"] = self.grad_scaler.state_dict()
        return state

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        if self.grad_scaler.is_enabled() and "grad_scaler" in state_dict:
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])
