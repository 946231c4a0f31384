"""Deformable convolutions sample where their offsets say, in training and in exported files."""

import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

from efficientps_d2.modeling.deformable import DeformConv2d


def test_it_begins_as_a_plain_convolution():
    conv, x = DeformConv2d(4, 6, padding=2, dilation=2, stride=2), torch.rand(2, 4, 9, 12)
    expected = F.conv2d(x, conv.weight, conv.bias, stride=2, padding=2, dilation=2)
    torch.testing.assert_close(conv(x), expected)


def test_it_samples_where_its_offsets_say():
    conv, x = DeformConv2d(1, 1, padding=1), torch.rand(1, 1, 8, 8)
    conv.offset.bias.data[0::2] = 2.0  # rows
    shifted = F.pad(x[:, :, 2:], (0, 0, 0, 2))
    expected = F.conv2d(shifted, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(x)[:, :, 1:6], expected[:, :, 1:6])


@pytest.mark.parametrize(
    "options", [{"padding": 1}, {"padding": 2, "dilation": 2, "stride": 2}, {"kernel_size": 1}]
)
@pytest.mark.parametrize("reach", [0.3, 30])  # within and beyond the border
def test_it_is_the_operator_of_torchvision(options, reach):
    torch.manual_seed(0)
    conv, x = DeformConv2d(5, 6, **options), torch.randn(2, 5, 9, 12, requires_grad=True)
    nn.init.normal_(conv.offset.weight, std=reach)
    inputs = [x, *conv.parameters()]
    steps = {key: getattr(conv, key) for key in ("stride", "padding", "dilation")}
    expected = deform_conv2d(x, conv.offset(x), conv.weight, conv.bias, **steps)
    found, direction = conv(x), torch.randn_like(expected)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(out, inputs, direction) for out in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("offset", [float("nan"), float("inf"), -1e30])
def test_offsets_of_a_diverged_network_do_no_harm(offset):
    conv, x = DeformConv2d(2, 3, padding=1), torch.rand(1, 2, 6, 6)
    nn.init.constant_(conv.offset.bias, offset)
    found = conv(x)
    assert found.isnan().all() if offset != -1e30 else (found == conv.bias[:, None, None]).all()


def test_exported_files_have_it(tmp_path):
    conv, x = DeformConv2d(3, 4, padding=1).eval(), torch.rand(1, 3, 9, 12)
    nn.init.normal_(conv.offset.weight, std=0.3)
    torch.onnx.export(conv, (x,), tmp_path / "conv.onnx", dynamo=True, opset_version=20)
    session = onnxruntime.InferenceSession(tmp_path / "conv.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = conv(x)
    torch.testing.assert_close(torch.from_numpy(found), expected)
    torch.testing.assert_close(torch.jit.trace(conv, x)(x.flip(3)), conv(x.flip(3)))


def test_its_offsets_learn():
    conv = DeformConv2d(2, 3, padding=1)
    conv(torch.rand(1, 2, 6, 6)).square().sum().backward()
    assert conv.offset.weight.grad.abs().sum() > 0
