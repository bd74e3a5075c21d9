"""The article's tables: its diagnosis, its means, and the errors that it found."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax.evaluation import (
    arithmetic_mean,
    collapse_metrics,
    geometric_mean,
    harmonic_mean,
    infer_aggregation,
    leaderboard,
    power_mean,
    rank,
    rank_sensitivity,
    score_table,
)

GLUE = score_table(name="glue_2021")
OLD = score_table(name="glue_2019")
SUPER = score_table(name="superglue_2022")
MODELS = score_table(name="glue_models")
sensitivity = jax.jit(rank_sensitivity, static_argnames="orders")
infer = jax.jit(infer_aggregation)
MEANS = tuple(map(jax.jit, (arithmetic_mean, geometric_mean, harmonic_mean)))

# The card's figures: means of the first tasks, in the order of MEANS.
GLUE_10 = """91.31 90.99 90.64 91.18 90.93 90.66 91.07 90.82 90.55 90.87 90.52 90.14
90.74 90.48 90.20 90.48 90.15 89.79 87.58 86.91 86.16"""
GLUE_11 = """88.19 87.20 86.02 87.59 86.38 84.85 87.25 85.88 84.10 87.44 86.25 84.78
87.27 86.13 84.70 87.08 85.92 84.48"""
SUPER_8 = """90.91 90.48 90.02 90.62 90.20 89.76 90.39 90.00 89.58 90.29 89.90 89.48
89.79 89.09 88.32 89.25 88.91 88.54"""
SUPER_10 = """88.95 88.28 87.55 88.73 88.10 87.43 88.45 87.87 87.25 88.25 87.60 86.89
89.44 88.73 87.96 87.19 86.57 85.89"""
OLD_10 = "81.10 80.27 79.38 83.03 82.30 81.50 87.58 86.91 86.16"
OLD_11 = "77.33 75.27 72.73 79.15 77.13 74.57"
EIGHT = """89.70 89.27 88.81 89.00 88.48 87.91 87.21 86.61 85.96 81.74 80.84 79.89
67.20 64.61 61.40 61.62 57.13 50.19 64.84 59.92 52.12 63.33 56.02 42.83"""


def numbers(text: str) -> np.ndarray:
    return np.array(text.split(), float).reshape(-1, 3)


@pytest.mark.parametrize(
    ("table", "tasks", "wanted"),
    [
        (GLUE, 10, GLUE_10),
        (GLUE, 11, GLUE_11),
        (SUPER, 8, SUPER_8),
        (SUPER, 10, SUPER_10),
        (OLD, 10, OLD_10),
        (OLD, 11, OLD_11),
        (MODELS, 8, EIGHT),
    ],
)
def test_means_of_the_tables_are_those_of_the_card(table, tasks, wanted) -> None:
    wanted = numbers(wanted)
    scores = jnp.asarray(table.scores[: len(wanted), :tasks])
    got = np.stack([mean(scores) for mean in MEANS], -1)
    np.testing.assert_allclose(got, wanted, atol=0.0051)


def official(table) -> np.ndarray:
    """GLUE's own nine tasks: both halves of MNLI are one."""
    halves = table.scores[:, 5:7].mean(1, keepdims=True)
    return np.concatenate([table.scores[:, :5], halves, table.scores[:, 7:10]], 1)


@pytest.mark.parametrize("table", [GLUE, OLD])
def test_nine_tasks_give_the_published_average(table) -> None:
    got = arithmetic_mean(jnp.asarray(official(table)))
    np.testing.assert_allclose(got, table.published, atol=0.0501)


def test_eight_tasks_give_the_published_average_of_superglue() -> None:
    got = arithmetic_mean(jnp.asarray(SUPER.scores[:, :8]))
    known = ~np.isnan(SUPER.published)
    np.testing.assert_allclose(got[known], SUPER.published[known], atol=0.0501)
    assert known.sum() == 4


def test_on_one_set_of_tasks_every_mean_ranks_the_human_last_on_glue() -> None:
    found = sensitivity(jnp.asarray(GLUE.scores[:, :10]), orders=tuple(range(-5, 6)))
    assert (found.ranks[:, -1] == 7).all()
    three = sensitivity(jnp.asarray(GLUE.scores[:, :10]))
    assert (three.inversions <= 3).all()  # of 21 pairs


def test_mixed_sets_alone_make_the_human_first_on_glue() -> None:
    board = leaderboard(
        jnp.asarray(GLUE.scores), reported=GLUE.reported, p=-1, missing="per_row"
    )
    assert bool(board.mixed) and board.ranks[-1] == 1
    geometric = leaderboard(
        jnp.asarray(GLUE.scores), reported=GLUE.reported, p=0, missing="per_row"
    )
    assert geometric.ranks[-1] == 2  # behind the newest row only
    assert geometric.values[0] > geometric.values[-1] > geometric.values[1]
    fair = leaderboard(
        jnp.asarray(GLUE.scores), reported=GLUE.reported, p=-1, missing="intersect"
    )
    assert not bool(fair.mixed) and fair.ranks[-1] == 7
    assert fair.tasks_used.sum(-1).tolist() == [10] * 7


def test_the_diagnostic_tasks_and_not_the_mean_make_the_human_first_on_superglue():
    place = SUPER.systems.index("Human")
    ten, eight = (sensitivity(jnp.asarray(SUPER.scores[:, :k])) for k in (10, 8))
    assert ten.ranks[:, place].tolist() == [1, 1, 1]
    assert eight.ranks[:, place].tolist() == [5, 5, 6]


def test_the_mean_does_move_ranks_where_systems_spread() -> None:
    found = sensitivity(jnp.asarray(MODELS.scores))
    cove, lstm = (MODELS.systems.index(n) for n in ("BiLSTM+CoVe", "BiLSTM"))
    behind = found.ranks[:, lstm] > found.ranks[:, cove]
    assert behind.tolist() == [False, True, True]
    assert found.inversions[0].tolist() == [0, 1, 1]


def test_missing_scores_are_refused_by_name_unless_asked_for() -> None:
    scores = jnp.asarray(GLUE.scores)
    with pytest.raises(ValueError, match="first Human on AX"):
        leaderboard(
            scores, reported=GLUE.reported, names=GLUE.systems, tasks=GLUE.tasks
        )
    with pytest.raises(ValueError, match="first row 6 on column 10"):
        leaderboard(scores, reported=GLUE.reported)
    with pytest.raises(ValueError, match="`scores` must be finite"):
        leaderboard(scores)


def test_boards_of_full_tables_are_means_and_their_ranks() -> None:
    rng = np.random.default_rng(0)
    tables = jnp.asarray(rng.uniform(20, 90, (1000, 6, 5)))
    board = jax.jit(lambda t: leaderboard(t, p=0.5))(tables)
    np.testing.assert_allclose(board.values, power_mean(tables, 0.5), rtol=1e-13)
    np.testing.assert_array_equal(board.ranks, rank(board.values))
    assert not board.mixed and board.tasks_used.all()


def test_policies_agree_where_nothing_is_missing() -> None:
    table = jnp.asarray(MODELS.scores)
    board_of = jax.jit(leaderboard, static_argnames=("missing", "p"))
    policies = ("error", "intersect", "per_row")
    boards = [board_of(table, missing=policy, p=-1) for policy in policies]
    for board in boards:
        np.testing.assert_array_equal(board.values, boards[0].values)
        assert not board.mixed


def test_published_averages_give_their_rule_away() -> None:
    # What the article found in the paper's table: AM of 10, GM and HM of 11 but for
    # the human, who has 10.
    means = [np.asarray(m(jnp.asarray(GLUE.scores[:6]))) for m in MEANS[1:]]
    human = [float(m(jnp.asarray(GLUE.scores[6, :10]))) for m in MEANS[1:]]
    for i, (models, person) in enumerate(zip(means, human, strict=True), 1):
        published = jnp.asarray([*np.round(models, 1), round(person, 1)])
        found = infer_aggregation(
            jnp.asarray(GLUE.scores), published, reported=GLUE.reported
        )
        fits = np.asarray(found.fits)
        assert fits[i, 10, :6].all() and not fits[i, 10, 6]
        assert fits[i, 9, 6] and not fits[i, 9, :6].any()
    am = arithmetic_mean(jnp.asarray(GLUE.scores[:, :10]))
    found = infer_aggregation(jnp.asarray(GLUE.scores), jnp.round(am, 1))
    assert found.fits[0, 9].all() and not found.fits[:, 10].any()


def test_a_rule_is_found_in_random_tables() -> None:
    rng = np.random.default_rng(1)
    for _ in range(2):
        table = jnp.asarray(rng.uniform(20, 90, (500, 6)))
        for i, mean in enumerate(MEANS):
            j = int(rng.integers(2, 7))
            published = jnp.round(mean(table[:, :j]), 1)
            fits = np.asarray(infer(table, published).fits)
            assert fits[i, j - 1].all()
            assert fits.all(-1).sum() == 1


def test_negative_scores_fit_only_where_a_mean_exists() -> None:
    table = jnp.array([[60.0, -0.4], [50.0, 40.0]])
    found = infer(table, jnp.array([29.8, 45.0]))
    assert found.fits[0, 1].tolist() == [True, True]
    assert np.isnan(found.values[1, 1, 0]) and not found.fits[1, 1, 0]


def test_tables_of_texts_are_read() -> None:
    got = collapse_metrics([["93,8/91,7", "7"], [5, "–"]], decimal=",")
    np.testing.assert_array_equal(got.scores, [[92.75, 7.0], [5.0, np.nan]])
    assert got.reported.tolist() == [[True, True], [True, False]]
    with pytest.raises(ValueError, match="collapse_metrics: `table`"):
        collapse_metrics([["93.8"]], decimal=",")


@pytest.mark.parametrize("table", [GLUE, OLD, SUPER, MODELS])
def test_every_cell_of_a_table_has_a_source(table) -> None:
    shape = (len(table.systems), len(table.tasks))
    assert table.scores.shape == table.reported.shape == shape
    assert [len(r) for r in table.sources] == [len(r) for r in table.cells]
    assert [len(r) for r in table.sources] == [shape[1]] * shape[0]
    assert all(source for row in table.sources for source in row)
    np.testing.assert_array_equal(np.isnan(table.scores), ~table.reported)


def test_a_constant_classifier_gains_by_gender_parity() -> None:
    # Its parity is 100 whatever its accuracy: the pair's mean rewards it.
    pair = collapse_metrics([["100.0/50.0", "92.0/58.0"]]).scores[0]
    assert pair[0] == pair[1] == 75.0
