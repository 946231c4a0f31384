"""What loads as weights, by every way they get in, and that nothing else in a file is executed."""

import os
import pickle
import resource
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from file_server import serving_files
from torch import nn

from efficientps_d2 import InputError
from efficientps_d2.checkpoint.checkpointer import FittingCheckpointer, load_trained_model
from efficientps_d2.checkpoint.weights_file import read_weights
from efficientps_d2.data.classes import with_class_counts
from efficientps_d2.modeling.backbone.efficientnet import EfficientNet
from efficientps_d2.modeling.backbone.pretrained import load_pretrained_backbone

SUFFIXES = (".pkl", ".pth", ".pt", ".pyth", ".safetensors", "")
NAME = "tf_efficientnet_lite0"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("was_run",)


def malicious_contents():
    """As they would be in checkpoints of several kinds, so that no early check saves the day."""
    evil = Malicious()
    yield from (evil, {"model": evil, "__author__": "x"}, {"blobs": evil}, {"model_state": evil})
    yield {"model": {"a": np.zeros(2), "b": evil}, "__author__": "x"}
    yield {"model": {}, "iteration": evil}
    array = np.empty(1, dtype=object)
    array[0] = evil
    yield {"model": {"a": array}}


def network(*sizes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(*(sizes or (3, 2))), nn.BatchNorm1d(2))


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    state = {k: v.numpy() for k, v in network().state_dict().items()}
    return {k: np.asarray(rng.uniform(1, 9, v.shape).astype(v.dtype)) for k, v in state.items()}


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("was_run").exists(), "code of a file was executed"


def refused(load, file) -> None:
    with pytest.raises(InputError) as error:
        load(file)
    assert "evil" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_in_a_file_is_executed(suffix):
    file = Path(f"evil{suffix}")
    backbone = EfficientNet(NAME)
    ways = (
        FittingCheckpointer(network()).load,
        partial(load_pretrained_backbone, backbone, NAME),
    )
    for content in malicious_contents():
        for protocol in PROTOCOLS:
            file.write_bytes(pickle.dumps(content, protocol))
            for load in (*ways, read_weights):
                refused(load, str(file))
        for zipped in (True, False):
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            for load in ways:
                refused(load, str(file))


def test_nor_if_a_config_or_an_address_names_it(toy, tiny_config, tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    Path("evil.pkl").write_bytes(pickle.dumps({"model": Malicious(), "__author__": "x"}))
    with serving_files(tmp_path) as address:
        for weights in ("evil.pkl", f"{address}/evil.pkl"):
            refused(load_trained_model, tiny_config(toy, "MODEL.WEIGHTS", weights))


def test_what_an_address_gives_is_not_mixed_up(toy, tiny_config, tmp_path, monkeypatch):
    """Neither with the file of another server, nor with a damaged one that was mended since."""
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    values = []
    for number in (1.0, 2.0):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = build_model(with_class_counts(tiny_config(toy)))
        model.sem_seg_head.predictor.bias.data.fill_(number)
        torch.save({"model": model.state_dict()}, folder / "model.pth")
        whole = (folder / "model.pth").read_bytes()
        with serving_files(folder) as server:
            address = f"{server}/model.pth"
            cfg = tiny_config(toy, "MODEL.WEIGHTS", address)
            (folder / "model.pth").write_bytes(whole[:-900])
            with pytest.raises(InputError, match=f"{address}: .*cannot be read|is damaged"):
                load_trained_model(cfg)
            (folder / "model.pth").write_bytes(whole)
            loaded = load_trained_model(cfg)
        values.append(loaded.sem_seg_head.predictor.bias[0].item())
    assert values == [1.0, 2.0]


def test_forged_arrays():
    """What NumPy would take for addresses of objects, and read memory there."""

    class Forged:
        def __init__(self, *parts):
            self.parts = parts

        def __reduce__(self):
            return self.parts

    _reconstruct, _scalar = np.zeros(0).__reduce__()[0], np.float32().__reduce__()[0]
    _frombuffer = np.zeros(0).__reduce_ex__(5)[0]
    empty = Forged(_reconstruct, (np.ndarray, (0,), b"b"))
    kind = Forged(np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0))
    address = b"A" * 8
    forged = (
        Forged(*empty.parts, (1, (1,), kind, False, address)),
        Forged(_scalar, (kind, address)),
        Forged(_frombuffer, (address, kind, (1,), "C")),
        Forged(*empty.parts, (1, (9,), np.dtype("f4"), False, b"A")),
        Forged(_frombuffer, (address, np.dtype("f4"), (9,), "C")),
        Forged(np.ndarray, ((2,),)),
    )
    wrong = [{"a": x} for x in (*forged, np.dtype("f4"), np.array("a"), 1)] + [{1: np.zeros(2)}]
    for model in wrong:
        Path("evil.pkl").write_bytes(pickle.dumps({"model": model, "__author__": "x"}))
        refused(FittingCheckpointer(network()).load, "evil.pkl")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_model_zoo_loads(protocol):
    """Arrays of any layout and byte order; values of the file's other keys are returned."""
    expected = arrays()
    given = {**expected, "0.weight": np.asfortranarray(expected["0.weight"])}
    given["0.bias"] = given["0.bias"].astype(">f4")
    content = {"model": OrderedDict(given), "__author__": "zoo", "score": np.float64(0.5)}
    Path("zoo.pkl").write_bytes(pickle.dumps(content, protocol))
    model = network()
    assert FittingCheckpointer(model).load("zoo.pkl") == {"__author__": "zoo", "score": 0.5}
    for name, tensor in model.state_dict().items():
        assert (tensor.numpy() == expected[name]).all(), name


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02}r\x00\x00\x00\x40",  # an object with the number 2**30
        b"\x80\x05\x96" + (2**30).to_bytes(8, "little"),  # as many bytes
    ],
)
def test_a_small_pickle_takes_little_memory(tmp_path, content):
    """Whatever it says that is still to come."""
    (tmp_path / "bomb.pkl").write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="bomb.pkl cannot be read"):
        read_weights(tmp_path / "bomb.pkl")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def test_a_tensor_alone_is_no_checkpoint(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(InputError, match="tensor.pth holds no state dict of tensors"):
        read_weights(tmp_path / "tensor.pth")


def test_a_pickle_of_python_2():
    """Its bytes are text; an array 1.5, -2 and a number 7."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\nt"
        b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        b"I00\nS'\\x00\\x00\\xc0?\\x00\\x00\\x00\\xc0'\ntb"
    )
    Path("old.pkl").write_bytes(b"(dS'blobs'\n(dS'0.bias'\n" + array + b"sS'x_momentum'\nI7\nss.")
    model = network()
    FittingCheckpointer(model).load("old.pkl")
    assert model[0].bias.tolist() == [1.5, -2.0]


def test_files_of_other_projects():
    """Of Caffe2, whose names are others; of pycls; bare; named .pkl though of torch.save."""
    expected = arrays()
    named = {"backbone.fc_w": expected["0.weight"], "backbone.fc_w_momentum": 1}
    for content in ({"blobs": named}, named):
        model = nn.ModuleDict({"backbone": nn.ModuleDict({"fc": nn.Linear(3, 2)})})
        Path("c2.pkl").write_bytes(pickle.dumps(content))
        FittingCheckpointer(model).load("c2.pkl")
        assert (model.backbone.fc.weight.detach().numpy() == expected["0.weight"]).all()
    tensors = {k: torch.tensor(v) for k, v in expected.items()}
    torch.save({"model_state": tensors}, "pycls.pyth")
    torch.save(tensors, "bare")
    torch.save({"model": tensors, "__author__": "x"}, "zip.pkl")
    torch.save({"model": tensors}, "unnamed.pkl")
    files = ("pycls.pyth", "bare", "zip.pkl", "unnamed.pkl", "bare?matching_heuristics=True")
    for file in files:
        model = network()
        FittingCheckpointer(model).load(file)
        assert torch.equal(model[0].weight, tensors["0.weight"]), file
    with pytest.raises(InputError, match=r"bare\?x=1: leave \?x=1 out"):
        FittingCheckpointer(network()).load("bare?x=1")


@pytest.mark.parametrize(
    "name", ["../other.pth", "ABSOLUTE", "", ".", "..", "no.pth", "a\0b", "x/"]
)
def test_the_last_checkpoint_is_a_file_of_its_run(tmp_path, name):
    good = {"model": network().state_dict()}
    Path("run").mkdir()
    torch.save(good, "other.pth")
    torch.save(good, "run/model.pth")
    tag = Path("run/last_checkpoint")
    tag.write_text("model.pth\n")
    checkpointer = FittingCheckpointer(network(), "run")
    assert checkpointer.get_checkpoint_file() == "run/model.pth"
    checkpointer.resume_or_load("", resume=True)
    tag.write_text(name.replace("ABSOLUTE", str(tmp_path / "other.pth")))
    with pytest.raises(InputError, match="run/last_checkpoint names .* no file beside it"):
        checkpointer.resume_or_load("", resume=True)
    tag.write_bytes(b"\xff\xfe\x00" * 99)
    with pytest.raises(InputError, match="no file beside it") as error:
        checkpointer.get_checkpoint_file()
    assert str(error.value).isascii() and len(str(error.value)) < 700
