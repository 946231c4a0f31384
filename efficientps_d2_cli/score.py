"""Score anyone's panoptic predictions in COCO's format: PQ, SQ, RQ, PQ-dagger, PC.

efficientps-d2 score --gt panoptic_val2017.json --gt-dir panoptic_val2017 \\
    --pred predictions.json --pred-dir predictions

efficientps-d2 score --gt panoptic_val2017.json --gt-dir panoptic_val2017 --pred results/

The second form is for the results of predict-batch, also in object storage.

Videos, in the format of VIPSeg, get VPQ over windows of 1, 2, 4 and 6 frames.

Files that do not fit together are listed, and then there are no scores. Exit status: 0 if scored, 1
if files do not fit together, 2 for wrong usage.
"""

import argparse
import json
import math
import sys
from contextlib import nullcontext
from pathlib import Path

from efficientps_d2_cli.options import add_processes, path, require_pyarrow

FIRST_MISMATCHES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gt", type=path, required=True, help="JSON of the ground truth")
    parser.add_argument("--gt-dir", type=path, required=True, help="its PNGs")
    parser.add_argument(
        "--pred",
        required=True,
        help="JSON of the predictions, or the --output of predict-batch, a folder or an address",
    )
    parser.add_argument("--pred-dir", type=path, help="PNGs of a JSON")
    parser.add_argument(
        "--only-predicted", action="store_true", help="leave out images without a prediction"
    )
    add_processes(parser)
    parser.add_argument("--output", type=path, help="also write the scores to this JSON")


def run(args: argparse.Namespace) -> int:
    from efficientps_d2_runtime.files import replacing_file

    with replacing_file(args.output) if args.output else nullcontext() as partial:
        _print_scores(_score(args), partial)
    if args.output:
        print(f"Wrote {args.output}.")
    return 0


def before(args: argparse.Namespace) -> None:
    """Mistakes of flags."""
    if not args.pred:
        args.parser.error("--pred must not be empty")
    args.is_batch = "://" in args.pred or Path(args.pred).is_dir()
    if args.is_batch == bool(args.pred_dir):
        needs = "has its own PNGs; leave --pred-dir out" if args.is_batch else "needs --pred-dir"
        args.parser.error(f"--pred {args.pred} {needs}")
    if args.is_batch:
        require_pyarrow()


def _score(args: argparse.Namespace):
    from efficientps_d2.evaluation.score_files import score_files
    from efficientps_d2_runtime.errors import InputError

    more = args.processes, args.only_predicted
    if args.is_batch:
        from efficientps_d2.evaluation.score_batch import score_batch
        from efficientps_d2_runtime.batch.output import Output

        scores = score_batch(args.gt, args.gt_dir, Output(args.pred), *more)
    else:
        scores = score_files(args.gt, args.gt_dir, Path(args.pred), args.pred_dir, *more)
    for mismatch in scores.mismatches[:FIRST_MISMATCHES]:
        print(f"  {mismatch}", file=sys.stderr)
    if (more := len(scores.mismatches) - FIRST_MISMATCHES) > 0:
        print(f"  and {more} more", file=sys.stderr)
    if scores.mismatches:
        may_help = scores.unpredicted and scores.num_images and not args.only_predicted
        cure = ", or add --only-predicted" if may_help else ""
        raise InputError(
            f"There are no scores, because files do not fit together, as listed above; correct "
            f"them{cure}."
        )
    return scores


def _print_scores(scores, file: Path | None) -> None:
    from tabulate import tabulate

    from efficientps_d2.evaluation import panoptic_metrics, video_quality
    from efficientps_d2.evaluation.results import without_nan

    sums, categories = scores.sums, scores.categories
    things = [i for i, category in enumerate(categories) if category["isthing"]]
    if isinstance(sums, dict):
        of_class = video_quality.video_class_metrics(sums, things)
        means = video_quality.video_mean_metrics(sums, things)
    else:
        of_class = panoptic_metrics.class_metrics(sums, things)
        means = panoptic_metrics.mean_metrics(sums, things)
    metrics = list(of_class)
    groups = zip(("All", "Things", "Stuff"), panoptic_metrics.GROUPS, strict=True)
    rows = [[label, *(means[m + suffix] for m in metrics)] for label, suffix in groups]
    names = [category["name"] for category in categories]
    rows += zip(names, *of_class.values(), strict=True)
    rows = without_nan(rows)
    print(tabulate(rows, ["", *metrics], tablefmt="github", floatfmt=".2f", missingval="–"))
    what = "frames" if isinstance(sums, dict) else "images"
    others = f"; {scores.left_out} without ground truth are left out" if scores.left_out else ""
    print(f"\nScored {what}: {scores.num_images}{others}.")
    if file:
        values = means | panoptic_metrics.by_name(of_class, names)
        # JSON has no NaN, which a class without segments gets.
        values = {key: None if math.isnan(value) else value for key, value in values.items()}
        file.write_text(json.dumps(values, indent=1), encoding="utf-8")
