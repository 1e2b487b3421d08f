"""Where XGBoost trains: the processor, or a graphics card where there is one."""

import warnings

import numpy as np
import xgboost as xgb

from engagex_sim.settings import Device, Settings


def usable_device(wanted: Device) -> tuple[Device, str | None]:
    """The device to train on, and where that is not the one that was asked for, a sentence that says so."""
    if wanted == "cpu":
        return "cpu", None
    try:
        data = xgb.DMatrix(np.zeros((2, 1)), label=np.array([0.0, 1.0]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XGBoost says in its own words what is said below
            config = xgb.train({"device": wanted, "verbosity": 0}, data, 1).save_config()
    except xgb.core.XGBoostError:  # built without support for it
        config = ""
    if f'"device":"{wanted}' in config:
        return wanted, None
    return "cpu", "XGBoost finds no graphics card here, so models are trained on the processor."


def on_usable_device(settings: Settings) -> tuple[Settings, str | None]:
    """The settings with a device that is there, and the sentence that says so where another one was asked for."""
    device, said = usable_device(settings.device)
    return settings.model_copy(update={"device": device}), said
