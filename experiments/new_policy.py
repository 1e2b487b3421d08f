"""`new_policy`: a policy of one's own, small enough to read, and its contract test."""

import keyword
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import typer

from engagex_sim.errors import InputError
from engagex_sim.result import CURRENT
from policies import REGISTRY

POLICY = '''\
"""A contact strategy of my own: rather in the evening."""

import numpy as np


class {class_name}:
    def action_probabilities(self, context):
        contact = np.where(context["hour"] >= 18, 0.30, 0.05)[:, None]  # any feature, by its name
        kinds = np.full(len(context.kinds), 1 / len(context.kinds))
        wanted = np.hstack([1 - contact, contact * kinds]) * context.mask  # nothing where the cap forbids it
        return wanted / wanted.sum(axis=1, keepdims=True)
'''

TEST = '''\
"""The contract that every policy keeps: probabilities for allowed actions, whatever the order of the rows."""

from {name} import {class_name}

from engagex_sim.testing import check_policy


def test_{name}_keeps_the_contract():
    check_policy({class_name})
'''


def write_policy(name: str, directory: Path) -> None:
    """Write `NAME.py` and `test_NAME.py` and say how to run them. Raises `InputError` rather than overwrite."""
    if keyword.iskeyword(name):
        raise InputError(f"{name!r} cannot be a policy's name: it is a word of Python; choose another name.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{name!r} cannot be a policy's name: lower-case letters, digits and _, as in my_policy.")
    policy, test = directory / f"{name}.py", directory / f"test_{name}.py"
    for path in (policy, test):  # before modules are looked for, of which that file may be one
        if path.exists():
            raise InputError(f"{path} exists already; it is not overwritten.")
    if find_spec(name) is not None:
        raise InputError(f"{name!r} cannot be a policy's name: a module is called so, which {name}.py would hide.")
    if name in REGISTRY or name == CURRENT:
        raise InputError(f"There is a policy {name!r} already; choose another name.")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    directory.mkdir(parents=True, exist_ok=True)
    policy.write_text(POLICY.format(class_name=class_name), encoding="utf-8")
    test.write_text(TEST.format(name=name, class_name=class_name), encoding="utf-8")
    spec = shlex.quote(f"{policy}:{class_name}")
    typer.echo(f"Wrote {policy} and {test}. Try it, and test it:")
    typer.echo(f"  python -m experiments.run compare --policies {spec}")
    typer.echo(f"  python -m pytest {shlex.quote(str(test))}")
