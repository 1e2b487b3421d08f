"""Training on a graphics card, and without one."""

import pytest
import xgboost as xgb

from engagex_sim.models.device import on_usable_device
from engagex_sim.settings import Settings


def test_the_processor_is_always_there() -> None:
    settings = Settings()
    assert on_usable_device(settings) == (settings, None)


def test_without_a_graphics_card_training_falls_back_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise xgb.core.XGBoostError("XGBoost version not compiled with GPU support.")

    monkeypatch.setattr(xgb, "train", refuse)
    settings, said = on_usable_device(Settings(device="cuda"))
    assert settings.device == "cpu"
    assert said == "XGBoost finds no graphics card here, so models are trained on the processor."


@pytest.mark.filterwarnings("ignore:.*GPU.*:UserWarning")
def test_what_can_be_used_is_found_out_by_training() -> None:
    settings, said = on_usable_device(Settings(device="cuda"))
    assert (settings.device == "cuda") is (said is None)
