"""Inputs of the fusion rules, and what holds for every result."""

import numpy as np
import torch
from dense_fusion import SIZE, make_instances
from hypothesis import strategies as st

BOX = [8, 6, 20, 18]


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(0, 6))
    corners = rng.uniform([-1, -1], [SIZE[1] - 4, SIZE[0] - 4], (count, 2)).clip(0)
    sizes = rng.uniform(1, 20, (count, 2))
    ends = np.minimum(corners + sizes, [SIZE[1], SIZE[0]])
    classes = rng.permutation(5)
    things = sorted(classes[: draw(st.integers(1, 4))].tolist())
    instances = make_instances(
        np.concatenate([corners, ends], axis=1),
        rng.choice([0.2, 0.5, 0.51, 0.7, 0.9], count),  # with ties
        rng.integers(0, len(things), count),
        rng.normal(rng.uniform(-1, 2), 3, (count, 4, 4)),
    )
    # A negative mean makes stray pixels frequent.
    sem_seg_logits = torch.from_numpy(rng.normal(draw(st.sampled_from([-3, 0])), 3, (5, *SIZE)))
    options = {
        "thing_class_ids": things,
        "score_threshold": draw(st.sampled_from([0.0, 0.5])),
        "overlap_threshold": draw(st.sampled_from([0.2, 0.5, 1.0])),
        "stuff_area_limit": draw(st.sampled_from([0, 40])),
        "mask_logit_scale": draw(st.sampled_from([1.0, 4.0])),
        "confine_to_box": draw(st.booleans()),
    }
    return instances, sem_seg_logits.float(), options


def scene(stuff=0.0, thing=0.0):
    """Logits of stuff class 0 and thing class 1."""
    return torch.stack([torch.full(SIZE, float(stuff)), torch.full(SIZE, float(thing))])


def check_segments(panoptic_seg, segments, options, size=SIZE) -> None:
    """The list describes the map, best things first."""
    assert panoptic_seg.dtype == torch.int32 and panoptic_seg.shape == size
    assert [s["id"] for s in segments] == list(range(1, len(segments) + 1))
    counts = torch.bincount(panoptic_seg.flatten(), minlength=len(segments) + 1).tolist()
    assert [s["area"] for s in segments] == counts[1:] and min(counts[1:], default=1) > 0
    scores = [s["score"] for s in segments if s["isthing"]]
    assert scores == sorted(scores, reverse=True)
    for s in segments:
        assert isinstance(s["isthing"], bool)  # the stock evaluator tests `is True`
        assert s["isthing"] == (s["category_id"] in options["thing_class_ids"])
        if s["isthing"]:
            assert s["score"] > options["score_threshold"]
