"""The ablation: rows that differ in one part, runs that are not repeated, a table of the seeds."""

import json
from pathlib import Path

import pytest
from conftest import CONFIGS, load_tool

from efficientps_d2.config import flat_items, load_config

tool = load_tool("ablation")

PARTS = [
    {"MODEL.BACKBONE.NAME", "MODEL.FPN.NORM", "MODEL.ANCHOR_GENERATOR.SIZES"}
    | {"MODEL.RPN.IN_FEATURES", "SOLVER.BASE_LR"},
    {"MODEL.SEM_SEG_HEAD.NAME", "MODEL.SEM_SEG_HEAD.NORM"},
    {"MODEL.PROPOSAL_GENERATOR.NAME", "MODEL.ROI_HEADS.NAME"}
    | {"MODEL.ROI_MASK_HEAD.NAME", "MODEL.ROI_MASK_HEAD.NORM"},
    {"MODEL.PANOPTIC_FPN.COMBINE.METHOD"},
]


@pytest.mark.parametrize("data", ["streets", "nuclei"])
def test_each_row_changes_one_part(data):
    rows = [
        dict(flat_items(load_config(str(CONFIGS / f"{row}.yaml"), tool.overrides(data, row))))
        for row in tool.ROWS
    ]
    for part, before, after in zip(PARTS, rows, rows[1:], strict=False):
        assert {k for k in before if before[k] != after[k]} - {"OUTPUT_DIR"} == part
    whole = dict(flat_items(load_config(str(CONFIGS / f"efficientps_{data}.yaml"))))
    different = {k for k in whole if whole[k] != rows[-1][k]}
    assert {key.split(".")[0] for key in different} <= {"SOLVER", "TEST", "OUTPUT_DIR"}, (
        "the last row is EfficientPS on a smaller budget"
    )


@pytest.fixture
def runs(monkeypatch):
    """Commands that the tool gives; each run scores PQ 10 times its seed."""
    commands = []

    def run(command, check):
        commands.append(command)
        settings = dict(zip(command[::-1][1::2], command[::-1][::2], strict=False))
        folder = Path(settings["OUTPUT_DIR"])
        folder.mkdir(parents=True)
        values = {f"panoptic_seg/{m}": 10.0 * int(settings["SEED"]) for m in tool.METRICS}
        lines = [{"loss": 1.0}, values]
        (folder / "metrics.json").write_text("\n".join(map(json.dumps, lines)) + "\n")

    monkeypatch.setattr(tool.subprocess, "run", run)
    return commands


def test_runs_are_not_repeated_and_the_table_is_of_all_seeds(tmp_path, runs, capsys):
    tool.main(["streets", "--seeds", "1", "--output", str(tmp_path)])
    assert len(runs) == 5
    tool.main(["streets", "--seeds", "1", "2", "--output", str(tmp_path)])
    assert len(runs) == 10
    assert sum("--resume" in command for command in runs) == 8
    last = runs[-1]
    assert "--eval-only" in last
    weights = last[last.index("MODEL.WEIGHTS") + 1]
    assert weights == str(tmp_path / "streets/ablation_4_instance_heads/seed2/model_final.pth")
    text = (tmp_path / "streets" / "table.md").read_text()
    assert text in capsys.readouterr().out
    assert text.count("15.0 (10.0 to 20.0)") == 15
