"""CUDA tensors without a GPU: they compute on the CPU, but refuse to meet tensors of the CPU."""

import contextlib

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA = torch.device("cuda:0")
COPIES = ("_to_copy", "copy_")  # from device to device
TAKE_CPU_INDICES = ("index", "index_put", "index_put_")
INDEXING = (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
FAKE = torch._C._TorchDispatchModeKey.FAKE


class OnCuda(Tensor):
    """Says that it is on CUDA, and holds a tensor on the CPU."""

    @staticmethod
    def __new__(cls, held: Tensor):
        layout = {"strides": held.stride(), "dtype": held.dtype, "device": CUDA}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), **layout)

    def __init__(self, held: Tensor):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


def _call(func, args: tuple, kwargs: dict):
    """An operator on what tensors hold; its results are where those would be."""
    name = func.overloadpacket.__name__
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    on_cuda = any(isinstance(x, OnCuda) for x in tensors)
    # Indices may be on the CPU, and so may numbers.
    meeting = (args[0], *args[2:]) if name in TAKE_CPU_INDICES else (args, kwargs)
    elsewhere = [
        x
        for x in tree_leaves(meeting)
        if isinstance(x, Tensor) and not isinstance(x, OnCuda) and x.ndim > 0
    ]
    if on_cuda and elsewhere and name not in COPIES:
        raise RuntimeError(f"{name} meets tensors on CUDA and on the CPU")
    if kwargs.get("device") is not None:
        on_cuda = torch.device(kwargs["device"]).type == "cuda"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    args, kwargs = tree_map(lambda x: x.held if isinstance(x, OnCuda) else x, (args, kwargs))
    if name == "_softmax" and args[2]:  # half to float: only CUDA has it
        args = (args[0].float(), args[1], False)
    result = func(*args, **kwargs)
    if not on_cuda:
        return result
    # In-place operators give back the tensor they were given.
    tensors = {id(x.held): x for x in tensors if isinstance(x, OnCuda)}
    return tree_map(lambda x: _there(x, tensors) if isinstance(x, Tensor) else x, result)


def _there(x: Tensor, known: dict[int, OnCuda]) -> OnCuda:
    return known[id(x)] if id(x) in known else OnCuda(x)


class _Factories(TorchDispatchMode):
    """Makes ``torch.zeros(..., device="cuda")`` and ``tensor.to("cuda")`` pretend."""

    def __init__(self):
        super().__init__()
        self._mode_key = FAKE  # with it PyTorch does not start CUDA

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _call(func, args, kwargs or {})


class _PythonData(TorchFunctionMode):
    """What takes or gives Python's numbers, and would start CUDA before any operator is called."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        first = args[0] if args else None
        if func is torch.Tensor.tolist and isinstance(first, OnCuda):
            return first.held.tolist()
        if func is torch.Tensor.new_tensor and isinstance(first, OnCuda):
            return torch.tensor(args[1], dtype=first.dtype).to(CUDA)
        if func in INDEXING and isinstance(first, OnCuda) and isinstance(args[1], list):
            args = (first, torch.tensor(args[1]).to(CUDA), *args[2:])
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") == CUDA:
            kwargs = {key: value for key, value in kwargs.items() if key != "device"}
            return first if isinstance(first, OnCuda) else func(*args, **kwargs).to(CUDA)
        return func(*args, **kwargs)


@contextlib.contextmanager
def pretended_cuda(amp: bool = False):
    """Within it ``CUDA`` can be used; with ``amp`` under autocast, as Detectron2's AMP trainer."""
    torch._C._ensureCUDADeviceGuardSet()
    torch.set_autocast_enabled("cuda", amp)
    try:
        with torch.backends.cudnn.flags(enabled=False), _Factories(), _PythonData():
            yield
    finally:
        torch.set_autocast_enabled("cuda", False)


def move(model: nn.Module) -> nn.Module:
    """Put a model there, in place."""
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            tensors.update({k: OnCuda(v.detach()) for k, v in tensors.items() if v is not None})
    return model
