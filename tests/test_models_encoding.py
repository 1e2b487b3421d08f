"""Features as a matrix: golden values, and that codes of the log do not matter."""

import numpy as np
import pytest

from engagex_sim.columns import Column
from engagex_sim.errors import InputError
from engagex_sim.models.encoding import MAX_CATEGORIES, MIN_ROWS, FeatureEncoder
from engagex_sim.policy import Context


def make_context(**features):
    n = len(next(iter(features.values())))
    columns = {name: Column.from_values(values) for name, values in features.items()}
    return Context(np.ones((n, 2), dtype=np.bool_), ("contact",), columns, {})


def test_numbers_stay_text_becomes_rank_by_frequency_and_infinity_is_missing():
    """Five rows by hand: b is the commonest text, then a and c in the alphabet's order."""
    context = make_context(
        age=[30, 40, 50, 60, 70],
        since=[np.inf, 1.5, np.nan, -np.inf, 2.0],
        kind=np.array(["b", "a", None, "b", "c"], dtype=object),
    )
    encoder = FeatureEncoder.fit(context, context.exogenous)
    assert encoder.names == ("age", "since", "kind")
    assert encoder.feature_types == ["q", "q", "c"]
    assert encoder.categories == (None, None, ("b", "a", "c"))
    nan = np.nan
    expected = [[30, nan, 0], [40, 1.5, 1], [50, nan, nan], [60, nan, 0], [70, 2, 2]]
    matrix = encoder.transform(context)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(encoder.transform(context, np.array([3, 0])), np.array(expected)[[3, 0]])
    assert encoder.transform(context, extra=2).shape == (5, 5)


def test_the_text_decides_not_its_code():
    """Another block with other codes gives the same numbers; text never seen is "other"."""
    encoder = FeatureEncoder.fit(make_context(kind=["x", "y", "y"]), ["kind"])
    np.testing.assert_array_equal(encoder.transform(make_context(kind=["a", "x", "y", "z"]))[:, 0], [2, 1, 0, 2])


def test_rare_categories_become_other():
    """Only the most frequent categories are kept."""
    names = [f"resource {i:03d}" for i in range(MAX_CATEGORIES + 40)]
    encoder = FeatureEncoder.fit(make_context(resource=names * MIN_ROWS + names[40:]), ["resource"])
    assert encoder.categories[0] == tuple(names[40:])
    assert encoder.transform(make_context(resource=names[:1])).item() == MAX_CATEGORIES


@pytest.mark.parametrize(("n", "needed"), [(100_000, MIN_ROWS), (1_000, 10), (250, 3), (80, 1)])
def test_a_category_needs_20_rows_or_one_percent_of_them(n, needed):
    """What fewer rows have, such as names, becomes "other", however many such names there are."""
    texts = ["enough"] * needed + ["too few"] * (needed - 1)
    texts += ["name " + str(i // max(needed - 1, 1)) for i in range(n // 4)] if needed > 1 else []
    texts += ["most"] * (n - len(texts))
    encoder = FeatureEncoder.fit(make_context(text=texts), ["text"])
    assert encoder.categories == (("most", "enough"),)


def test_categories_that_do_not_occur_are_not_learned():
    """A block may carry the category list of the whole log."""
    column = Column(np.array([2, 2, 0], dtype=np.int32), np.array(["a", "b", "c"], dtype=object))
    context = Context(np.ones((3, 2), dtype=np.bool_), ("contact",), {"kind": column}, {})
    assert FeatureEncoder.fit(context, ["kind"]).categories == (("c", "a"),)


def test_a_feature_that_changed_its_type_is_refused():
    """Numbers where the model learned text, or the reverse: one sentence."""
    encoder = FeatureEncoder.fit(make_context(kind=["x", "y"]), ["kind"])
    with pytest.raises(InputError, match="'kind' is numbers here but was text"):
        encoder.transform(make_context(kind=[1, 2]))


def test_written_down_and_read_again():
    """`to_json` and `from_json` are inverse."""
    encoder = FeatureEncoder.fit(make_context(kind=["x", "y"], age=[1, 2]), ["kind", "age"])
    assert FeatureEncoder.from_json(encoder.to_json()) == encoder
