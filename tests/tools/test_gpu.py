"""What tools/benchmarks/gpu.py counts as agreement; the rest of it needs a GPU."""

import torch
from project import load_tool

gpu = load_tool("benchmarks/gpu")


def output(ids, classes):
    segments = [{"id": number, "category_id": name} for number, name in classes.items()]
    return {"panoptic_seg": (torch.tensor(ids, dtype=torch.int32), segments)}


def test_agreement_is_of_classes_whatever_the_ids():
    expected = [output([[1, 1, 2, 0]], {1: 7, 2: 3})]
    assert gpu._compare(expected, [output([[2, 2, 1, 0]], {2: 7, 1: 3})]) == {
        "same class of pixels": 1.0,
        "same number of segments": 1.0,
    }


def test_void_and_other_classes_disagree():
    expected = [output([[1, 1, 2, 0]], {1: 7, 2: 3})]
    other = [output([[1, 0, 2, 2]], {1: 7, 2: 4})]
    assert gpu._compare(expected, other)["same class of pixels"] == 0.25
    assert gpu._compare(expected, [output([[1, 1, 1, 1]], {1: 7})])["same number of segments"] == 0
