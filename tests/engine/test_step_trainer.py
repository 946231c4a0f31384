"""A step in parts is that of the whole batch; mixed precision has its scale."""

import pytest
import torch
from detectron2.utils.events import EventStorage
from processes import in_two_processes
from torch import nn

from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.engine.step_trainer import StepTrainer
from efficientps_d2.engine.trainer import Trainer
from efficientps_d2_runtime.errors import InputError


class Line(nn.Module):
    """Its losses are means over the images of a list, as those of networks."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.calls = []

    def forward(self, batch: list[dict]) -> dict:
        self.calls.append(len(batch))
        x = torch.stack([image["x"] for image in batch])
        return {"loss_a": (self.weight * x).square().mean(), "loss_b": (self.weight @ x.T).mean()}


def one_step(**options) -> tuple[Line, dict]:
    """The network after a step with a batch of four, and the metrics of the step."""
    torch.manual_seed(0)
    model = Line()
    loader = [[{"x": torch.randn(2)} for _ in range(4)]]
    trainer = StepTrainer(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), **options)
    trainer.iter = 0
    with EventStorage() as storage:
        trainer.run_step()
        return model, {name: value for name, (value, _) in storage.latest().items()}


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_give_the_step_of_the_whole(parts):
    whole, expected = one_step()
    model, found = one_step(parts=parts)
    assert whole.calls == [4] and model.calls == [4 // parts] * parts
    assert (whole.weight != Line().weight).all()
    torch.testing.assert_close(model.weight, whole.weight)
    assert set(found) >= {"loss_a", "loss_b", "total_loss"}
    for name in ("loss_a", "loss_b", "total_loss"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5)


def test_bfloat16():
    whole, _ = one_step()
    model, _ = one_step(precision=torch.bfloat16, parts=2)
    torch.testing.assert_close(model.weight, whole.weight, atol=0.01, rtol=0)
    assert (model.weight != whole.weight).all() and model.weight.dtype == torch.float32


def test_float16_waits_for_a_scale_that_fits():
    model, found = one_step(precision=torch.float16)
    assert (model.weight == Line().weight).all(), "65536 is too much for these gradients"
    assert found["total_loss"] > 0


def test_float16_finds_its_scale():
    """By halving it until gradients fit."""
    torch.manual_seed(0)
    model = Line()
    loader = [[{"x": torch.randn(2)} for _ in range(4)]] * 20
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = StepTrainer(model, loader, optimizer, precision=torch.float16)
    with EventStorage():
        for trainer.iter in range(20):
            trainer.run_step()
    assert (model.weight != Line().weight).all() and trainer.grad_scaler.get_scale() < 65536


def weights_of_rank(rank: int, folder) -> torch.Tensor:
    """After a step in two parts of a half of the images."""
    torch.manual_seed(0)
    batch = [{"x": torch.randn(2)} for _ in range(8)][4 * rank : 4 * rank + 4]
    line = Line()
    model = torch.nn.parallel.DistributedDataParallel(line)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = StepTrainer(model, [batch], optimizer, parts=2)
    trainer.iter = 0
    with EventStorage():
        trainer.run_step()
    return line.weight.detach().numpy()


def test_parts_in_two_processes(tmp_path):
    """Gradients are exchanged, of all parts."""
    torch.manual_seed(0)
    model, batch = Line(), [{"x": torch.randn(2)} for _ in range(8)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = StepTrainer(model, [batch], optimizer)
    trainer.iter = 0
    with EventStorage():
        trainer.run_step()
    first, second = in_two_processes(weights_of_rank, tmp_path, tmp_path)
    assert not isinstance(first, str), first
    assert (first == second).all()
    assert first == pytest.approx(model.weight.detach().numpy(), rel=1e-5)


def test_checkpoints_have_the_scale_of_float16():
    model = Line()

    def trainer(precision):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return StepTrainer(model, [], optimizer, precision=precision)

    scaled, other, plain = trainer(torch.float16), trainer(torch.float16), trainer(None)
    state = scaled.state_dict()
    state["grad_scaler"]["scale"] = 512.0
    other.load_state_dict(state)
    assert other.grad_scaler.get_scale() == 512.0
    assert "grad_scaler" not in plain.state_dict()
    plain.load_state_dict(state)
    scaled.load_state_dict(plain.state_dict())  # of a run without AMP


def test_config(toy, tiny_config):
    keys = ("SOLVER.GRADIENT_ACCUMULATION", 2, "SOLVER.ACTIVATION_CHECKPOINTING", True)
    trainer = Trainer(with_class_counts(tiny_config(toy, *keys, "SOLVER.MAX_ITER", 1)))
    assert trainer._trainer.parts == 2 and trainer._trainer.precision is None
    calls = []
    trainer.model.register_forward_pre_hook(lambda model, inputs: calls.append(len(inputs[0])))
    network = trainer.model.backbone.bottom_up
    network.conv_stem.register_forward_pre_hook(lambda *_: calls.append("stem"))
    network.blocks[3][0].conv_pw.register_forward_pre_hook(lambda *_: calls.append("block"))
    with EventStorage():
        trainer.run_step()
    assert calls == [1, "stem", "block", "block"] * 2


def test_parts_must_be_equal(toy, tiny_config):
    cfg = with_class_counts(tiny_config(toy, "SOLVER.GRADIENT_ACCUMULATION", 3))
    with pytest.raises(
        InputError, match="GRADIENT_ACCUMULATION is 3, but each process has 2 images"
    ):
        Trainer(cfg)
