"""Weights of a softmax model in a Performer: at once, and after a little training."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments._harness import lists
from experiments._harness.data_text import VOCABULARY, TextData
from experiments._harness.workdir import Run
from experiments._language import settings
from experiments._language.attentions import attend
from experiments._language.judgment import Judge
from experiments._language.losses import Loss, next_byte
from experiments._language.settings import LanguageConfig
from experiments._language.training import Trainer
from kexue_jax import attention, models

DRAWN = 7  # the key of all projections


class Transfer(NamedTuple):
    """Held-out losses, one a seed, by what was done; q, k, v of the first seed."""

    losses: dict[str, list[float]]
    heads: tuple[jax.Array, jax.Array, jax.Array]


def network(config: LanguageConfig, form: Any) -> models.Model:
    """The model with the attention ``form``."""
    return models.transformer(
        vocabulary=VOCABULARY,
        attend=form,
        length=config.length,
        **settings.sizes(config),
    )


def performer(config: LanguageConfig, features: int, step: Any, every: int) -> Any:
    """Causal Performer attention; each layer draws its own rows, anew by ``step``."""
    d = config.width // config.heads

    def run(q: Any, k: Any, v: Any, layer: int) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(DRAWN), layer)
        w = attention.redrawn_projection(
            key, step, every=every, m=features, d=d, heads=config.heads
        )
        return attention.performer_attention(q, k, v, w, causal=True)

    return run


def loss_of(config: LanguageConfig, features: int, every: int) -> Loss:
    """The loss of a Performer whose rows change every so many steps."""

    def loss(params: Any, tokens: Any, key: Any, step: jax.Array) -> jax.Array:
        model = network(config, performer(config, features, step, every))
        return next_byte(model)(params, tokens, key, step)

    return loss


def transfer(
    config: LanguageConfig,
    run: Run,
    text: TextData,
    *,
    features: int,
    tuned: int,
    redraw: int,
) -> Transfer:
    """Train with softmax; judge as a Performer before and after ``tuned`` steps."""
    rows = text.rows(config.length + 1)
    tested = text.test_rows(config.length + 1, config.tested)
    softmax = network(config, attend("softmax", causal=True))
    never = 2**30
    random = network(config, performer(config, features, 0, never))
    score, score_random = Judge(softmax), Judge(random)
    first = Trainer(config, run, rows, next_byte(softmax))
    rate = config.learning_rate / 3
    more: dict[str, Any] = {"num_steps": tuned, "learning_rate": rate}
    longer = {
        name: Trainer(config, run, rows, loss, **more)
        for name, loss in (
            ("softmax, trained on", next_byte(softmax)),
            ("Performer, tuned, fixed rows", loss_of(config, features, never)),
            ("Performer, tuned, redrawn rows", loss_of(config, features, redraw)),
        )
    }
    losses: dict[str, list[float]] = {}
    heads: Any = None
    for seed in lists.seeds(config):
        params = first(softmax.init, seed, part="softmax" if heads is None else None)
        heads = heads or seen(config, params, tested)
        found = {
            "softmax": score(params, tested).mean_loss(),
            "Performer, not tuned": score_random(params, tested).mean_loss(),
        }
        for name, trainer in longer.items():
            judge = score if name.startswith("softmax") else score_random
            found[name] = judge(trainer(params, seed), tested).mean_loss()
        for name, value in found.items():
            losses.setdefault(name, []).append(value)
    return Transfer(losses, heads)


def seen(config: LanguageConfig, params: Any, tested: Any) -> Any:
    """q, k, v of the last layer for one text, [heads, n, d] each."""
    kept: list[Any] = []

    def keep(q: Any, k: Any, v: Any, layer: int) -> jax.Array:
        kept.append((q[0], k[0], v[0]))
        return attention.dense_attention(q, k, v, causal=True)

    model = network(config, keep)
    kept.clear()
    model.apply(params, jnp.asarray(tested[:1, : config.length], jnp.int32))
    return kept[-1]
