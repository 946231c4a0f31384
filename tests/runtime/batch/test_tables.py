"""Tables of segments: boxes, and what pandas and others read."""

from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
from batch_stub import StubModel
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from efficientps_d2_runtime.batch.image_table import ImageSource
from efficientps_d2_runtime.batch.tables import ERRORS, SEGMENTS, Rows, add_segments, segment_boxes

maps = arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 5))


@given(maps)
def test_boxes_are_the_smallest(pan_seg):
    ids, expected = [1, 2, 3, 4, 5, 9], []
    for i in ids:
        rows, columns = np.nonzero(pan_seg == i)
        if not len(rows):
            expected.append([0, 0, 0, 0])
            continue
        expected.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    assert segment_boxes(pan_seg, ids).tolist() == expected


def test_a_row_for_each_segment():
    image = np.zeros((6, 8, 3), dtype=np.uint8)
    image[2:4, 5:8, 0] = 255
    table, model = Rows(SEGMENTS), StubModel()
    source = ImageSource("/photos/a.png", None, "a")
    add_segments(table, 3, source, *model.predict([image]), model.categories)
    road, car = pq.read_table(BytesIO(table.parquet())).to_pylist()
    about = {"shard": 3, "image": "/photos/a.png", "row": None, "image_id": "a"}
    assert {k: car[k] for k in about} == about == {k: road[k] for k in about}
    assert [car[k] for k in ("category_id", "category", "isthing")] == [26, "car", True]
    assert [car[k] for k in ("x0", "y0", "x1", "y1", "area")] == [5, 2, 8, 4, 6]
    assert (car["height"], car["width"], car["segment_id"]) == (6, 8, 2)
    assert road["area"] == 42 and road["isthing"] is False and car["score"] == 0.75


def test_a_table_without_rows_has_its_columns():
    read = pq.read_table(BytesIO(Rows(ERRORS).parquet()))
    assert len(read) == 0 and read.column_names == ERRORS.names
