"""Write docs/CONFIG.md from the tables that check config values.

python tools/write_config_docs.py
"""

from pathlib import Path

from detectron2.config import CfgNode, get_cfg

from efficientps_d2.config.defaults import add_efficientps_config
from efficientps_d2.config.keys import value_of
from efficientps_d2.config.loading import AUTO, get_config
from efficientps_d2.config.other_network_rules import OTHER_NETWORK_RULES
from efficientps_d2.config.rules import MODEL_RULES, Rule
from efficientps_d2.config.training_rules import DATA_RULES, SOLVER_RULES, TEST_RULES

FILE = Path(__file__).parents[1] / "docs" / "CONFIG.md"
HEAD = """# Config keys

These are the keys of this project, and those keys of Detectron2 that its configs set or that are
easily set wrong. Detectron2's
[config reference](https://detectron2.readthedocs.io/en/latest/modules/config.html#config-references)
describes all others. A command checks the values before it reads data or builds a model, and ends
with one sentence that names the key and what is allowed.

"Default" is the value without a config file, "custom" that of `efficientps_custom`, the config for
your own images, where it is another. Give a key another value in a config file of your own, which
names one of these in `_BASE_`, or at the end of a command:
`efficientps-d2 train --config-file efficientps_custom SOLVER.MAX_ITER 3000`.

A key that is `"auto"` in the column "custom" can be so in every config: a training then chooses the
value from the training data and logs it with its reason (see [CUSTOM_DATA.md](CUSTOM_DATA.md)).

<!-- tools/write_config_docs.py writes this page from efficientps_d2/config/*rules.py. -->
"""
SECTIONS = {
    "Network": MODEL_RULES,
    "Networks of other papers": OTHER_NETWORK_RULES,
    "Data": DATA_RULES,
    "Training": SOLVER_RULES,
    "Evaluation": TEST_RULES,
}


def config_page() -> str:
    """The text of the page."""
    defaults = get_cfg()
    add_efficientps_config(defaults)
    custom = get_config("efficientps_custom")
    parts = [HEAD]
    for title, rules in SECTIONS.items():
        parts += [
            f"## {title}\n",
            "| Key | Meaning | Allowed | Default | custom |",
            "|---|---|---|---|---|",
        ]
        parts += [_row(rule, defaults, custom) for rule in rules]
        parts.append("")
    return "\n".join(parts)


def _row(rule: Rule, defaults: CfgNode, custom: CfgNode) -> str:
    default, here = value_of(defaults, rule.key), value_of(custom, rule.key)
    if rule.key in custom.AUTO:
        here = AUTO
    other = "" if here == default else _code(here)
    return f"| `{rule.key}` | {rule.meaning} | {rule.allowed.words} | {_code(default)} | {other} |"


def _code(value: object) -> str:
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    FILE.write_text(config_page(), encoding="utf-8")
