"""Tables of a report, from counts."""

import numpy as np
import pytest

from efficientps_d2.report.error_analysis import CORRECT, KINDS, MISSED, UNLABELED
from efficientps_d2.report.page import MANY_CLASSES, confusion_rows, confusion_table, error_rows


def test_shares_of_errors_are_of_labeled_pixels():
    counts = dict.fromkeys(KINDS, 0) | {CORRECT: 60, MISSED: 20, UNLABELED: 900}
    rows = dict(error_rows(counts))
    assert rows[CORRECT] == 75 and rows[MISSED] == 25 and UNLABELED not in rows


def test_many_classes_show_the_most_confused():
    names = [f"c{i}" for i in range(MANY_CLASSES + 5)]
    confusion = np.zeros((len(names), len(names) + 1), dtype=int)
    np.fill_diagonal(confusion, 100)
    confusion[3, 7] = 50
    confusion[4, -1] = 25
    table = confusion_table(confusion, names)
    assert len(table["rows"]) == MANY_CLASSES and table["left_out"] == 5
    assert {"c3", "c4", "c7"} < {name for name, _ in table["rows"]}
    of_c3 = dict(zip(table["columns"], dict(table["rows"])["c3"], strict=True))
    assert of_c3["c7"] == (pytest.approx(100 / 3), False)
    assert of_c3["c3"] == (pytest.approx(200 / 3), True)
    first, second = confusion_rows(confusion, names)
    assert (first["true"], first["predicted"]) == ("c3", "c7")
    assert (second["true"], second["predicted"]) == ("c4", "nothing")
    assert second["of_class"] == pytest.approx(20)
