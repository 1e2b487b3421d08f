"""Who writes the rows, by the settings of a run."""

from engagex_sim.augment.chat import ChatServer, key_from_environment
from engagex_sim.augment.generator import RowGenerator
from engagex_sim.augment.language_model import LanguageModel
from engagex_sim.augment.trees import TreeSynthesis
from engagex_sim.errors import InputError
from engagex_sim.settings import Settings

TRAINING_SETS = 5  # of one reward model: three to hold out users, one to hold out later contacts, and everybody


def row_generator(settings: Settings) -> RowGenerator | None:
    """The generator that the settings ask for; None where no rows are to be written.

    The budget of a run is shared out evenly to all training sets of all folds. Raises `InputError` for settings that do
    not go together, and for a budget of less than a request for each.
    """
    names = ("llm_url", "llm_model", "llm_budget")
    asked = [name for name in names if name in settings.model_fields_set and getattr(settings, name) is not None]
    if settings.imbalance != "augment":
        if asked:
            raise InputError(f"{_option(asked[0])} is about written rows: give --imbalance augment too.")
        return None
    if not asked:
        return TreeSynthesis()
    if settings.llm_url is None or settings.llm_model is None:
        missing = "llm_url" if settings.llm_url is None else "llm_model"
        raise InputError(f"{_option(missing)} is missing: a language model has an address and a name.")
    if settings.refit_boot:
        raise InputError(
            "--refit-boot would ask the language model for new rows in every replicate; leave out --refit-boot, or"
            " --llm-url and --llm-model."
        )
    key_from_environment()
    sets = TRAINING_SETS * (1 if settings.holdout is not None else settings.folds)
    if settings.llm_budget < sets:
        raise InputError(
            f"--llm-budget {settings.llm_budget} is less than one request for each of the {sets} training sets."
        )
    return LanguageModel(ChatServer(settings.llm_url, settings.llm_model), settings.llm_budget // sets)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
