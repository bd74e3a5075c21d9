"""What is trained, and by which rules and positions each trained model is tested."""

from typing import Any, NamedTuple

from experiments._generalization.rules import Rule, hwfa, rule


class Test(NamedTuple):
    """A rule at the test, and its positions: a kind of ``rules.positions_at_test``."""

    rule: Rule
    turns: str = "plain"


class Training(NamedTuple):
    """A rule in training, and its tests by name: the first is that of the training."""

    rule: Rule
    tests: dict[str, Test]


ROPE, WINDOW, REROPE = "RoPE", "window", "ReRoPE"
REROPE_GROWN, GROWN, BOTH_GROWN = (
    "ReRoPE, log n at the test",
    "log n",
    "log n, ReRoPE",
)
RANDOM, EQUAL, SQUEEZED = "random positions", "equal mean", "equal mean, compressed"
HWFA = "HWFA"
CAUSAL = "causal "  # before the name of a method in a causal model


def trainings(sizes: dict[str, Any], train_length: int) -> dict[str, Training]:
    """All trainings of networks of ``sizes``, T = ``train_length`` tokens, by name."""
    window = train_length // 2
    bent, grown = {"window": window}, {"log_n": "pre"}
    plain = Test(rule(sizes))
    found = {
        ROPE: Training(
            rule(sizes),
            {
                ROPE: plain,
                WINDOW: Test(rule(sizes, reach=train_length)),
                REROPE: Test(rule(sizes, **bent)),
                REROPE_GROWN: Test(rule(sizes, **bent, log_n="dagger")),
            },
        ),
        GROWN: Training(
            rule(sizes, **grown),
            {
                GROWN: Test(rule(sizes, **grown)),
                BOTH_GROWN: Test(rule(sizes, **bent, **grown)),
            },
        ),
        RANDOM: Training(
            rule(sizes, drawn="random"), {RANDOM: Test(rule(sizes), "spaced")}
        ),
        EQUAL: Training(
            rule(sizes, drawn="equal mean"),
            {EQUAL: plain, SQUEEZED: Test(rule(sizes), "compressed")},
        ),
    }
    layers = hwfa(sizes, train_length)
    found[HWFA] = Training(layers, {HWFA: Test(layers)})
    return found | _causal(sizes, train_length)


def _causal(sizes: dict[str, Any], train_length: int) -> dict[str, Training]:
    """Those of causal models: a token sees none behind it."""
    plain = rule(sizes, causal=True)
    drawn = rule(sizes, causal=True, drawn="random")
    layers = hwfa(sizes, train_length, causal=True)
    return {
        CAUSAL + ROPE: Training(plain, {CAUSAL + ROPE: Test(plain)}),
        CAUSAL + RANDOM: Training(drawn, {CAUSAL + RANDOM: Test(plain, "spaced")}),
        CAUSAL + HWFA: Training(layers, {CAUSAL + HWFA: Test(layers)}),
    }
