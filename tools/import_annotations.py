"""Turn the annotations of a common tool into a data set for training.

python tools/import_annotations.py labelme SOURCE datasets/mine --things car,person --stuff road,sky

SOURCE is the unpacked folder of annotations and pictures: labelme's JSON files, or what CVAT
exports as "CVAT for images 1.1" (cvat), "Datumaro 1.0" (datumaro), "Segmentation mask 1.1"
(voc-mask) or "Cityscapes 1.0" (cityscapes, as the data set itself). What has a label in neither
list becomes void.
"""

import argparse
import os
import shlex
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", module="PIL")  # odd files; what is damaged becomes an error

from tabulate import tabulate  # noqa: E402

from efficientps_d2 import InputError  # noqa: E402
from efficientps_d2.data.checks.problems import shown  # noqa: E402
from efficientps_d2.data.importers.cityscapes import read_cityscapes  # noqa: E402
from efficientps_d2.data.importers.cvat import read_cvat  # noqa: E402
from efficientps_d2.data.importers.datumaro import read_datumaro  # noqa: E402
from efficientps_d2.data.importers.labelme import read_labelme  # noqa: E402
from efficientps_d2.data.importers.painting import Classes, read_labels  # noqa: E402
from efficientps_d2.data.importers.run import ImportSummary, import_annotations  # noqa: E402
from efficientps_d2.data.importers.voc import read_voc  # noqa: E402

READERS = {
    "labelme": read_labelme,
    "cvat": read_cvat,
    "datumaro": read_datumaro,
    "voc-mask": read_voc,
    "cityscapes": read_cityscapes,
}
SHOWN_PLACES = 3
LONG = 100_000  # letters; a sentence without its end names no cure


def print_summary(summary: ImportSummary, classes: Classes) -> None:
    splits = list(summary.pictures)
    rows = [["pictures", "", *summary.pictures.values()]]
    for name in classes.names:
        kind = "thing" if name in classes.things else "stuff"
        rows.append([shown(name), kind, *(summary.segments[split, name] for split in splits)])
    print(tabulate(rows, ["segments of", "kind", *splits]))
    if unlisted := summary.unlisted(classes).most_common():
        labels = ", ".join(f"{shown(label)} ({count})" for label, count in unlisted)
        print(f"\nLeft void: shapes whose labels --things and --stuff do not list: {labels}.")
    if summary.warnings:
        print()
    for message, places in summary.warnings.items():
        first = [shown(place) for place in dict.fromkeys(places)]
        more = ", ..." if len(first) > SHOWN_PLACES else ""
        listed = ", ".join(first[:SHOWN_PLACES])
        print(f"Warning: {shown(message, LONG)}: {len(places)} ({listed}{more}).")


def print_next_commands(dest: Path, splits: list[str]) -> None:
    """What to run now; without a val split, the pictures of the training serve both."""
    root = os.path.expanduser(os.getenv("DETECTRON2_DATASETS", "datasets"))
    elsewhere = dest.parent.resolve() != Path(root).resolve()
    datasets = f"DETECTRON2_DATASETS={shlex.quote(str(dest.parent))} " if elsewhere else ""
    train, test = (shlex.quote(f'("{dest.name}_{s}",)') for s in (splits[0], splits[-1]))
    print(f"\nWrote {dest}. Look at it, then train:\n")
    print(f"python tools/check_dataset.py {shlex.quote(str(dest / 'train'))}")
    print(f"{datasets}python train_net.py --config-file configs/efficientps_custom.yaml \\")
    output = shlex.quote(f"output/{dest.name}")
    print(f"    DATASETS.TRAIN {train} DATASETS.TEST {test} OUTPUT_DIR {output}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", choices=READERS, help="what the annotations come from")
    parser.add_argument("source", type=Path, help="folder of annotations and pictures")
    parser.add_argument("dest", type=Path, help="new folder; its last name is the data set's")
    commas = """labels of objects, with commas between: 'car,"bus, big"' are two"""
    parser.add_argument("--things", required=True, help=commas)
    parser.add_argument("--stuff", required=True, help="labels of other regions")
    parser.add_argument("--split", type=float, default=0.8, help="part of the pictures to train on")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of these")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set at DEST")
    args = parser.parse_args(argv)
    try:
        classes = Classes(read_labels(args.things), read_labels(args.stuff))
        summary = import_annotations(
            READERS[args.tool],
            args.source,
            args.dest,
            classes,
            split=args.split,
            seed=args.seed,
            overwrite=args.overwrite,
        )
    except InputError as error:
        sys.exit(f"Error: {shown(str(error), LONG)}")
    except KeyboardInterrupt:
        sys.exit(f"Error: stopped; {args.dest} is as it was.")
    print_summary(summary, classes)
    print_next_commands(args.dest, list(summary.pictures))


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack letters of labels
    main()
