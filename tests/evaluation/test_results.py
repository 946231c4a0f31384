"""Results of an evaluation replace those of an earlier one when they are all there."""

import pytest

from efficientps_d2.evaluation.results import FILES, replacing_results


@pytest.fixture
def folder(tmp_path):
    for suffix in FILES:
        (tmp_path / f"toy{suffix}").write_text("earlier")
    return tmp_path


def test_an_evaluation_that_fails_leaves_the_earlier_results(folder):
    with pytest.raises(KeyboardInterrupt), replacing_results(folder, ["toy"]):
        raise KeyboardInterrupt
    assert len(list(folder.iterdir())) == len(FILES)


def test_what_is_not_written_anew_is_not_taken_for_it(folder):
    with replacing_results(folder, ["toy"]):
        assert len(list(folder.iterdir())) == len(FILES)
        (folder / "toy_metrics.json").write_text("new")
    (left,) = folder.iterdir()
    assert left.read_text() == "new"
