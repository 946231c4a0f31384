"""The runs of a plan: what each is made of, and whether it has been made; see compare.py."""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

from efficientps_d2.config.keys import flat_items
from efficientps_d2.config.yaml_file import read_config

ROOT = Path(__file__).parents[2]
RUN = "run.json"  # in the folder of a run: config and keys it was made with
OF_ROW = ("config", "weights_of")  # what is no config key


@dataclass
class Run:
    """A training, or an evaluation of another row's weights, and where it goes."""

    dataset: str
    row: str
    seed: int
    folder: Path
    config: str
    keys: dict
    weights_of: Path | None

    def results(self) -> dict | None:
        """The metrics of the last evaluation, None if it has not ended or is out of date."""
        files = list((self.folder / "inference").glob("*_metrics.json"))
        # A training removes the table when it begins.
        if not files or not (self.folder / "results.md").is_file():
            return None
        weights = self.weights() if self.weights_of else None
        if weights and weights.is_file() and weights.stat().st_mtime > files[0].stat().st_mtime:
            return None
        return json.loads(files[0].read_text())["results"]

    def weights(self) -> Path:
        """What another row has trained and this one evaluates."""
        best = self.weights_of / "model_best.pth"
        return best if best.is_file() else self.weights_of / "model_final.pth"

    def values(self) -> dict:
        """The name of the config, what it and its bases say, and the keys of the plan."""
        config = read_config(str(ROOT / "configs" / f"{self.config}.yaml"))
        return {"config": self.config, **dict(flat_items(config)), **self.keys}

    def problem(self) -> str | None:
        """What is wrong with a run that is there already: it was made with other keys."""
        file = self.folder / RUN
        if not file.is_file():
            return None
        made, keys = json.loads(file.read_text()), json.loads(json.dumps(self.values()))
        other = sorted(key for key in made.keys() | keys if made.get(key) != keys.get(key))
        if not other:
            return None
        return f"{self.folder} was made with another {other[0]}; remove it, or give --output DIR."

    def command(self) -> list[str]:
        """The train_net.py that makes it."""
        keys = {**self.keys, "SEED": self.seed, "OUTPUT_DIR": self.folder}
        flags = ["--resume"]
        if self.weights_of:
            flags, keys["MODEL.WEIGHTS"] = ["--eval-only"], self.weights()
        overrides = [str(text) for pair in keys.items() for text in pair]
        config = ROOT / "configs" / f"{self.config}.yaml"
        script = [sys.executable, str(ROOT / "train_net.py"), "--config-file", str(config)]
        return [*script, *flags, *overrides]


def chosen_runs(
    file: Path, seeds: list[int], output: Path, datasets: list[str] | None
) -> list[Run]:
    """The runs of a plan on some of its datasets; exits if there is something wrong with it."""
    try:
        runs = read_plan(file, seeds, output)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        sys.exit(f"Error: {file} is no plan ({error!r}); see --help.")
    known = list(dict.fromkeys(run.dataset for run in runs))
    if unknown := set(datasets or known) - set(known):
        sys.exit(f"Error: {file} has no dataset {unknown.pop()}; it has {', '.join(known)}.")
    return [run for run in runs if run.dataset in (datasets or known)]


def read_plan(file: Path, seeds: list[int], output: Path) -> list[Run]:
    """All runs of a plan, seed by seed, so that a table of all rows is soon there."""
    plan = yaml.safe_load(file.read_text())
    if "like" in plan:
        plan = {**yaml.safe_load((file.parent / plan["like"]).read_text()), **plan}
    runs = []
    for seed in dict.fromkeys(seeds):
        for dataset, of_dataset in plan["datasets"].items():
            for row, of_row in plan["rows"].items():
                source = of_row.get("weights_of")
                trained = plan["rows"][source] if source else {}
                options = {**plan.get("common", {}), **of_dataset, **trained, **of_row}
                options = {k: _of_dataset(k, v, dataset) for k, v in options.items()}
                config = options["config"].format(of_dataset.get("config", dataset))
                runs.append(
                    Run(
                        dataset,
                        row,
                        seed,
                        _folder(output, dataset, row, seed),
                        config,
                        {key: value for key, value in options.items() if key not in OF_ROW},
                        _folder(output, dataset, source, seed) if source else None,
                    )
                )
    if len({run.folder for run in runs}) < len(runs):
        raise ValueError("two rows have names of the same letters")
    return runs


def _of_dataset(key: str, value: object, dataset: str) -> object:
    """A value may be another one for each dataset."""
    if not isinstance(value, dict):
        return value
    if dataset not in value:
        raise ValueError(f"{key} has no value for {dataset}")
    return value[dataset]


def _folder(output: Path, dataset: str, row: str, seed: int) -> Path:
    name = re.sub(r"[^a-z0-9]+", "_", row.lower()).strip("_")
    return output / dataset / name / f"seed{seed}"
