"""The files of a run: all of them or none."""

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli_w

from engagex_sim.report.gallery import draw_pictures
from engagex_sim.report.page import render_report
from engagex_sim.report.tables import csv_text, write_account, write_text
from engagex_sim.result import Result
from engagex_sim.whole import written_whole

VERSIONED = (
    "engagex-sim",
    "duckdb",
    "imbalanced-learn",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "xgboost",
)


def write_result(result: Result, directory: Path, command: str) -> None:
    """Write every file of a run into the new `directory`: all of them, or none and no directory.

    `command` is the line that repeats the run; it is printed in the report and kept in config.toml. The files hold
    no time of writing: the same result and command give the same bytes.

    Raises `InputError` where `directory` exists or cannot be made.
    """
    with written_whole(directory) as folder:
        write_files(result, folder, command)


def write_files(result: Result, directory: Path, command: str) -> None:
    """Write every file of a run into a folder that is being written whole (see `written_whole`)."""
    tables = {
        "summary": result.summary,
        "curves": result.curves,
        "model_metrics": result.model_metrics,
        "classification_report": result.classification_report,
        "feature_importance": result.feature_importance,
        "feature_effects": result.feature_effects,
        "intervals": result.intervals,
        "flags": result.flags,
        "calibration": result.calibration_cells,
        "overlap": result.overlap,
        "sensitivity": result.sensitivity,
        "breaking_points": result.breaking_points,
        "exploration": result.exploration,
    }
    for name, table in tables.items():
        write_text(directory / f"{name}.csv", csv_text(table))
    write_account(result.quality, directory, result.extra_quality)
    if result.augmentation is not None:
        told = json.dumps(result.augmentation, indent=2, ensure_ascii=False, allow_nan=False)
        write_text(directory / "augmentation.json", told + "\n")
    write_text(directory / "config.toml", tomli_w.dumps(_config(result, command)))
    pictures = draw_pictures(result)
    for picture in pictures.values():
        (directory / picture.file).write_bytes(picture.png)
    write_text(directory / "report.html", render_report(result, pictures, command))


def _config(result: Result, command: str) -> dict[str, Any]:
    """What is needed to repeat the run, seed and versions included."""
    return {
        "command": command,
        "policies": [str(name) for name in result.summary["policy"].unique()],
        "settings": _without_none(result.settings.resolved()),
        "log": _without_none(asdict(result.facts)),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """What ran: Python, this package and those it computes with."""
    return {"python": platform.python_version(), **{name: _version(name) for name in VERSIONED}}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _without_none(entries: Mapping[str, Any]) -> dict[str, Any]:
    """TOML has no null: an absent key says it."""
    return {name: value for name, value in entries.items() if value is not None}
