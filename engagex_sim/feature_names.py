"""What computed features are called: no column of a log can have one of these names."""

WINDOWS = (1, 7, 14, 28)  # days over which triggers are counted
COMPUTED = frozenset(  # exogenous features that are not columns of the log
    ["hour", "weekday", "day", "days_since_trigger", "triggers_so_far", "distinct_triggers_7d"]
    + [f"triggers_{days}d" for days in WINDOWS]
)
KIND_OF_CONTACT = "kind_of_contact"  # a feature of the reward model, where there are several kinds
HISTORY_FEATURES = ("days_since_contact", "contacts_so_far", "interests_so_far")  # they follow from the contacts made
