"""EfficientPS panoptic segmentation: train, evaluate and use networks on your own images.

efficientps-d2 VERB --help has the flags of each verb and examples.
"""

import argparse
import difflib
import gc
import sys
from collections.abc import Sequence
from types import ModuleType

from efficientps_d2_cli import (
    check,
    convert,
    evaluate,
    export,
    import_,
    lidar,
    predict,
    predict_batch,
    prepare,
    report,
    score,
    size,
    streets,
    train,
    web,
)
from efficientps_d2_cli.environment import require_packages

# Each module has add_arguments(parser) and run(args), which returns the exit status; some have
# before(args) for mistakes that show without PyTorch.
VERBS = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "predict-batch": predict_batch,
    "prepare": prepare,
    "import": import_,
    "check": check,
    "report": report,
    "score": score,
    "lidar": lidar,
    "export": export,
    "convert": convert,
    "size": size,
    "streets": streets,
    "web": web,
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; ``args.run(args)`` does the work."""
    parser = _parser(sys.modules[__name__], prog="efficientps-d2")
    verbs = parser.add_subparsers(required=True, metavar="VERB", title="verbs")
    for name, module in VERBS.items():
        summary = module.__doc__.splitlines()[0].rstrip(".")
        _fill(verbs.add_parser(name, help=summary, **_described(module)), module)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``efficientps-d2``; returns the exit status."""
    parser, words = make_parser(), sys.argv[1:] if argv is None else list(argv)
    close = difflib.get_close_matches(words[0], VERBS, 1) if words else []
    if close and words[0] not in VERBS:
        parser.error(f"there is no verb {words[0]}; did you mean {close[0]}?")
    return execute(parse(parser, words))


def main_of(verb: str, prog: str, argv: Sequence[str] | None = None) -> int:
    """Run one verb under the name of a script, such as demo.py; returns the exit status."""
    parser = _parser(VERBS[verb], prog=prog)
    _fill(parser, VERBS[verb])
    return execute(parse(parser, argv))


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """As ``parse_args``, but flags that a verb does not know show its own usage, and a cure."""
    args, unknown = parser.parse_known_args(argv)
    if not unknown:
        return args
    flag, known = unknown[0].partition("=")[0], args.parser._option_string_actions
    close = difflib.get_close_matches(flag, known, 1)
    starting = [name for name in known if flag.startswith("--") and name.startswith(flag)]
    cure = f"; did you mean {(close or starting)[0]}?" if close or starting else ""
    if not cure and hasattr(args, "opts"):
        cure = "; config values come last, as KEY VALUE"
        cure += " after --opts" if "--opts" in known else ""
    args.parser.error(f"unrecognized arguments: {' '.join(unknown)}{cure}")


def execute(args: argparse.Namespace) -> int:
    """Do what was asked for; mistakes of users end in a sentence."""
    require_packages()
    from efficientps_d2_runtime.errors import exit_status

    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    args.before(args)
    gc.disable()  # it takes an eighth of the time of the imports
    try:
        from efficientps_d2.utils.env import quiet_known_warnings  # PyTorch takes seconds to load
    finally:
        gc.enable()
    quiet_known_warnings()
    return args.run(args)


def _parser(module: ModuleType, prog: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=prog, **_described(module))


def _described(module: ModuleType) -> dict:
    raw = argparse.RawDescriptionHelpFormatter
    return {"description": module.__doc__, "formatter_class": raw, "allow_abbrev": False}


def _fill(parser: argparse.ArgumentParser, module: ModuleType) -> None:
    module.add_arguments(parser)
    before = getattr(module, "before", lambda args: None)
    parser.set_defaults(before=before, run=module.run, parser=parser)


if __name__ == "__main__":
    sys.exit(main())
