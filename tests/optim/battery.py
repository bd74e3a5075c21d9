"""Every transformation of ``optim`` with its float64 twin, for ``test_battery.py``."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from kexue_jax import optim
from tests.optim.dropout import words_of
from tests.oracles import lamb as lamb_oracle
from tests.oracles import optimizers as oracle

SHAPES = {"kernel": (3, 2), "bias": (2,), "scalar": ()}
STEPS = 1000
EXCLUDE = ("bias",)
MASK = {
    "kernel": np.array([[True, False], [True, True], [False, True]]),
    "bias": np.array([False, True]),
    "scalar": np.array(True),
}
DROP = 0.3


class Entry(NamedTuple):
    """A transformation, its hyperparameters and its twin.

    ``numbers`` may be traced; ``fixed()`` are the others. ``twin()`` is a step of
    ``tests/oracles/optimizers.py``, or with ``rates`` a function of (params,
    gradients) that gives all parameters. ``rate``: the name of its learning rate.
    """

    name: str
    make: Callable[..., Any]
    twin: Callable[..., Any]
    numbers: Mapping[str, float] = {}
    fixed: Callable[[], Mapping[str, Any]] = dict
    rate: str = ""
    whole: bool = False

    def build(self, **numbers: Any) -> Any:
        return self.make(**{**self.fixed(), **self.numbers, **numbers})

    def wanted(self, params: Any, gradients: Any) -> Any:
        """The parameters after each step, by the twin."""
        if self.whole:
            return self.twin(params, gradients)
        return oracle.history(self.twin(), params, gradients, self.applied)

    @property
    def applied(self) -> float:
        """What the updates are multiplied by and subtracted."""
        return -1.0 if self.rate else 0.01


def key() -> jax.Array:
    return jax.random.key(3)


def draws() -> Callable[[int], dict[str, np.ndarray]]:
    """The masks of ``gradient_dropout``, by the words that its docstring names."""

    def step(carry: jax.Array, _: None) -> Any:
        following, now = jax.random.split(carry)
        keys = jax.random.split(now, len(SHAPES))
        words = []
        for place, name in enumerate(sorted(SHAPES)):
            words.append(words_of(keys[place], SHAPES[name]))
        return following, words

    drawn = jax.lax.scan(step, key(), length=STEPS)[1]
    names = sorted(SHAPES)
    words = {n: np.asarray(w) for n, w in zip(names, drawn, strict=True)}
    return lambda k: {
        n: oracle.keep_mask(w[k - 1], SHAPES[n], DROP) for n, w in words.items()
    }


def relaxed(rule: str) -> Any:
    return oracle.scaled(lambda n: oracle.relaxed_step(n, 2.0, 3.0, rule))


def same(k: int, gradients: Any, params: Any) -> Any:
    return gradients


MOMENTS = {"b1": 0.8, "eps": 1e-3, "eps_root": 1e-4}


def boxed(params: Any) -> Any:
    return jax.tree.map(lambda p: jnp.clip(p, -1, 1), params)


def mean_weight(t: jax.Array) -> jax.Array:
    return optim.second_moment_weight(t, kind="mean")


ENTRIES = (
    Entry(
        "scale_by_second_moment_schedule",
        optim.scale_by_second_moment_schedule,
        lambda: oracle.scheduled(lambda t: oracle.weight(t, "mean"), **MOMENTS),
        MOMENTS,
        lambda: {"weight": mean_weight},
    ),
    Entry(
        "scale_by_adax",
        optim.scale_by_adax,
        lambda: oracle.adax(b2=1e-3, **MOMENTS),
        {"b2": 1e-3, **MOMENTS},
    ),
    Entry(
        "scale_by_adax, normalize first",
        optim.scale_by_adax,
        lambda: oracle.adax(b2=1e-3, bias=True, first=True, **MOMENTS),
        {"b2": 1e-3, **MOMENTS},
        lambda: {"normalize_first": True, "bias_correction": True},
    ),
    Entry(
        "adax, L2",
        optim.adax,
        lambda: oracle.decayed(oracle.adax(), 0.02, 0.1, decoupled=False),
        {"learning_rate": 0.02, "weight_decay": 0.1},
        lambda: {"decoupled": False},
        rate="learning_rate",
    ),
    Entry(
        "adaxw",
        optim.adaxw,
        lambda: oracle.decayed(oracle.adax(), 0.02, 5e-2, only=["kernel"]),
        {"learning_rate": 0.02, "weight_decay": 5e-2},
        lambda: {"mask": {"kernel": True, "bias": False, "scalar": False}},
        rate="learning_rate",
    ),
    Entry(
        "clip_by_global_norm",
        optim.clip_by_global_norm,
        lambda: oracle.hard(0.3),
        {"max_norm": 0.3},
    ),
    Entry(
        "soft_clip_by_global_norm",
        optim.soft_clip_by_global_norm,
        lambda: oracle.soft(0.7),
        {"gamma": 0.7},
    ),
    *(
        Entry(
            f"scale_by_relaxed_smoothness, {rule}",
            optim.scale_by_relaxed_smoothness,
            lambda rule=rule: relaxed(rule),
            {"l0": 2.0, "l1": 3.0},
            lambda rule=rule: {"rule": rule},
        )
        for rule in ("inverse", "log")
    ),
    Entry(
        "relaxed_gd",
        optim.relaxed_gd,
        lambda: oracle.decayed(relaxed("inverse"), 0.5, 0.0),
        {"l0": 2.0, "l1": 3.0, "scale": 0.5},
        rate="scale",
    ),
    Entry(
        "clip_by_loss_change",
        optim.clip_by_loss_change,
        lambda: oracle.by_loss_change(oracle.sgd(0.1), 0.02),
        {"threshold": 0.02},
        lambda: {"inner": optax.sgd(0.1)},
    ),
    Entry(
        "gradient_dropout",
        optim.gradient_dropout,
        lambda: oracle.masked(same, draws(), DROP),
        {"keep_prob": DROP},
        lambda: {"key": key()},
    ),
    Entry(
        "mask_updates",
        optim.mask_updates,
        lambda: oracle.masked(same, lambda k: MASK, DROP),
        {"keep_prob": DROP},
        lambda: {"mask": MASK},
    ),
    Entry(
        "child_tuning_f",
        optim.child_tuning_f,
        lambda: oracle.masked(oracle.adax(b2=1e-3), draws(), DROP),
        {"keep_prob": DROP},
        lambda: {"key": key(), "inner": optim.scale_by_adax(b2=1e-3)},
    ),
    Entry(
        "child_tuning_d",
        optim.child_tuning_d,
        lambda: oracle.masked(
            oracle.decayed(oracle.adax(), -1.0, 0.1), lambda k: MASK, DROP, again=True
        ),
        {"keep_prob": DROP},
        lambda: {
            "inner": optax.chain(optim.scale_by_adax(), optax.add_decayed_weights(0.1)),
            "mask": MASK,
        },
    ),
    Entry(
        "add_weissi_decay",
        optim.add_weissi_decay,
        lambda: oracle.weissi_decay(0.3, 0.2),
        {"log_coef": 0.3, "direction_coef": 0.2},
    ),
    Entry(
        "lamb_layerwise",
        optim.lamb_layerwise,
        lambda params, gradients: lamb_oracle.lamb(
            params, gradients, [0.02] * len(gradients), exclude=EXCLUDE
        ),
        {"learning_rate": 0.02},
        lambda: {"exclude": EXCLUDE},
        rate="learning_rate",
        whole=True,
    ),
    Entry(
        "projected",
        optim.projected,
        lambda: oracle.kept(oracle.sgd(0.1), -1.0, 1.0),
        fixed=lambda: {"inner": optax.sgd(0.1), "projection": boxed},
    ),
    Entry(
        "clip_weights",
        optim.clip_weights,
        lambda: oracle.kept(lambda k, gradients, params: gradients, -0.5, 0.5),
        {"max_weight": 0.5},
    ),
    Entry(
        "scale_by_layerwise_trust",
        optim.scale_by_layerwise_trust,
        lambda: oracle.trusted(EXCLUDE),
        fixed=lambda: {"exclude": EXCLUDE},
    ),
)


def parameters(dtype: str = "float64") -> dict[str, jax.Array]:
    rng = np.random.default_rng(0)
    return {n: jnp.asarray(rng.normal(size=s), dtype) for n, s in SHAPES.items()}


def gradients(steps: int, dtype: str = "float64") -> dict[str, np.ndarray]:
    """Gradients of very different sizes, stacked along the first axis."""
    rng = np.random.default_rng(1)
    sizes = 10 ** rng.uniform(-2, 1, steps)
    return {
        n: (rng.normal(size=(steps, *s)) * sizes.reshape(-1, *[1] * len(s))).astype(
            jnp.dtype(dtype)
        )
        for n, s in SHAPES.items()
    }
