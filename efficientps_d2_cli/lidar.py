"""Label scans of SemanticKITTI for its server, and score them on points as it does.

efficientps-d2 lidar dataset predictions --model output/semantic_kitti/model
efficientps-d2 lidar dataset predictions --model output/semantic_kitti/model --sequences 11-21

SOURCE holds sequences/. OUTPUT gets sequences/11/predictions/000000.label and so on; scans that
have such labels already are left out. Sequences with true labels are then scored; without --model
nothing is labelled, so that labels of any network can be scored, or packed for the server.
"""

import argparse
import shlex

from efficientps_d2_cli.options import add_processes, path, require_folder


def sequences(text: str) -> list[str]:
    """Such as 08, 0-7,9,10 or 11-21, from 00 to 21."""
    numbers = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        if not 0 <= low <= high <= 21:
            raise argparse.ArgumentTypeError("must be from 00 to 21, such as 08 or 11-21")
        numbers += [f"{number:02d}" for number in range(low, high + 1)]
    return list(dict.fromkeys(numbers))


sequences.__name__ = "sequence"  # argparse names it when the text is none


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=path, metavar="SOURCE", help="folder with sequences/")
    parser.add_argument("output", type=path, metavar="OUTPUT", help="of the labels")
    parser.add_argument("--model", type=path, metavar="DIR", help="a saved model")
    parser.add_argument(
        "--sequences",
        type=sequences,
        default=["08"],
        metavar="LIST",
        help="such as 11-21; default 08, which is for validation",
    )
    parser.add_argument("--device", default="", help="cuda, cpu or such; default: CUDA if possible")
    add_processes(parser)


def before(args: argparse.Namespace) -> None:
    """Mistakes of paths."""
    require_folder("SOURCE", args.source)


def run(args: argparse.Namespace) -> int:
    from efficientps_d2.prediction.predictor import load_predictor
    from efficientps_d2.prediction.scans import (
        label_scans,
        require_classes,
        require_found,
        require_model,
        scans_of,
        score_scans,
        with_truth,
    )
    from efficientps_d2_runtime.errors import Stopped

    scans = scans_of(args.source, args.output, args.sequences)
    known = with_truth(scans)
    if args.model:
        predictor = load_predictor(args.model, args.device)
        require_classes(predictor)
        require_model(predictor, args.output)
        try:
            count = label_scans(predictor, scans)
        except KeyboardInterrupt as error:
            raise Stopped("the same command goes on with the scans that are left.") from error
        print(f"Wrote labels of {count} scans to {args.output}.")
    if known:
        _print_score(score_scans(known, args.processes))
        _print_count(scans, known)
    else:
        require_found(scans)
        print("These sequences have no true labels: the server scores them. Pack sequences/:")
        print(f"  cd {shlex.quote(str(args.output))} && zip -r submission.zip sequences")
    return 0


def _print_count(scans: list, known: list) -> None:
    others = sorted({scan.sequence for scan in scans} - {scan.sequence for scan in known})
    without = f"; these sequences have no true labels: {', '.join(others)}" if others else ""
    print(f"Scored {len(known)} of {len(scans)} scans{without}.")


def _print_score(sums) -> None:
    from tabulate import tabulate

    from efficientps_d2.data.datasets.semantic_kitti import CATEGORIES
    from efficientps_d2.evaluation.point_evaluation import IS_THING

    of_class = sums.class_metrics()
    rows = [
        [category["name"], *(100 * float(values[i]) for values in of_class.values())]
        for i, category in enumerate(CATEGORIES)
    ]
    print(tabulate(rows, ["class", *of_class], floatfmt=".1f"))
    means = sums.means(IS_THING)
    print()
    print(tabulate([list(means.values())], list(means), floatfmt=".1f"))
    print("\nMeans are over all 19 classes; one that never occurs counts as 0, as on the server.")
