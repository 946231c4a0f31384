"""How much a computation does: numbers that are the same on every machine."""

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Effort(TorchDispatchMode):
    """A context that counts PyTorch's operations and the bytes of their results.

    Views cost nothing. What is written in place is counted for itself.
    """

    def __init__(self):
        super().__init__()
        self.operations, self.bytes, self.written, self.names = 0, 0, 0, set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        results = function(*args, **(kwargs or {}))
        schema = function._schema
        if not any(returned.alias_info for returned in schema.returns):
            self.operations += 1
            self.names.add(schema.name.removeprefix("aten::"))
            for tensor in tree_leaves(results):
                if isinstance(tensor, Tensor):
                    self.bytes += tensor.numel() * tensor.element_size()
        elif any(
            returned.alias_info and returned.alias_info.is_write for returned in schema.returns
        ):
            for tensor in tree_leaves(results):
                if isinstance(tensor, Tensor):
                    self.written += tensor.numel() * tensor.element_size()
        return results
