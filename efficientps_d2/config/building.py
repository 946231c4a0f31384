"""Build the network that a config describes, or refuse it in one sentence."""

import contextlib
import math
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import detectron2
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from torch import nn
from torch.overrides import TorchFunctionMode

from efficientps_d2.config.keys import flat_items
from efficientps_d2_runtime.errors import InputError, one_line


def build_network(cfg: CfgNode) -> nn.Module:
    """Detectron2's ``build_model``.

    Raises:
        InputError: if a value names something that does not exist, or values do not fit together;
            it names the key.
    """
    with naming_bad_keys(cfg):
        return build_model(cfg)


def check_network(cfg: CfgNode) -> None:
    """Refuse a config whose network cannot be built or is too large for the memory.

    Builds it without memory for its weights, so that this takes a second and any size is harmless.

    Raises:
        InputError: as :func:`build_network`, or if the weights alone fill the memory.
    """
    cfg = cfg.clone()
    cfg.MODEL.EFFICIENTNET.WEIGHTS, cfg.MODEL.DEVICE = "", "cpu"
    cfg.AUTO = []  # their defaults will do here
    with naming_bad_keys(cfg), torch.device("meta"), _WithoutValues():
        try:
            model = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)(cfg)
        except (NotImplementedError, TypeError):
            return  # a network that computes while it is built; only its size is not known
        except RuntimeError as error:
            if "meta" in str(error):
                return
            raise
    sizes = {name: p.numel() * p.element_size() for name, p in model.named_parameters()}
    total, memory = sum(sizes.values()), _memory()
    if total > memory:
        raise InputError(
            f"The weights of this network have {total / 1e9:.0f} GB, of {memory / 1e9:.0f} GB of "
            f"memory; the largest are {max(sizes, key=sizes.get)}: lower their channels."
        )


class _WithoutValues(TorchFunctionMode):
    """Leaves weights as they are: to fill those without memory only takes time."""

    FILLING = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return args[0] if func in self.FILLING else func(*args, **kwargs or {})


def _memory() -> float:
    """Bytes that this process may have, of the machine or of its container."""
    limits = [math.inf]
    with contextlib.suppress(OSError, ValueError, AttributeError):  # not on Windows
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):  # no number if there is no limit
        limits.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(limits)


@contextlib.contextmanager
def naming_bad_keys(cfg: CfgNode) -> Iterator[None]:
    """Turn errors of building a model into an InputError that names the key to correct."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, ValueError, RuntimeError, AssertionError, AttributeError) as error:
        # Registries say which name they do not know, but not where it stands.
        named = {k: v if isinstance(v, (list, tuple)) else [v] for k, v in flat_items(cfg)}
        keys = [k for k, vs in named.items() if any(v and f"'{v}'" in str(error) for v in vs)]
        if keys:
            cure = f"correct {' or '.join(keys)}"
        elif isinstance(error, (AssertionError, LookupError)) and _is_of_detectron2(error):
            cure = "correct the key below MODEL that this is about"
        else:  # a mistake in the code of a part, or no memory
            raise
        raise InputError(
            f"The model cannot be built from this config: {_reason(error)}; {cure}."
        ) from error


def _is_of_detectron2(error: Exception) -> bool:
    return Path(_place(error).filename).is_relative_to(Path(detectron2.__file__).parent)


def _reason(error: Exception) -> str:
    """The message, or the condition that did not hold, and where."""
    if str(error) or not isinstance(error, AssertionError):
        return one_line(error)
    place = _place(error)
    condition = place.line.removeprefix("assert ")
    return f"{Path(place.filename).name}, line {place.lineno}, needs {condition}"


def _place(error: Exception) -> traceback.FrameSummary:
    return traceback.extract_tb(error.__traceback__)[-1]
