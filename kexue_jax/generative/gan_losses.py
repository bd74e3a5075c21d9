"""Losses of the two players of a GAN, from what the critic says."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from kexue_jax._base import checks
from kexue_jax._base.numerics import accumulation_dtype


class GanLosses(NamedTuple):
    """d_loss(real, fake) -> [] for the critic, g_loss(fake) -> [] for the generator.

    Article: kexue.fm/archives/4439, 8757.
    """

    d_loss: Callable[[jax.Array, jax.Array], jax.Array]
    g_loss: Callable[[jax.Array], jax.Array]


def gan_losses(name: str) -> GanLosses:
    """The losses of critic and generator by the name of the game.

    Means over the batches of, with r and f the critic's values of real and fake,

    "wasserstein": f - r, and -f; "hinge": relu(1 - r) + relu(1 + f), and -f;
    "ns" (non-saturating): softplus(-r) + softplus(f), and softplus(-f);
    "minimax": the same for the critic, and -softplus(f);
    "bce01": -log p(r) - log(1 - p(f)), and -log p(f), with p(v) = (v + 1) / 2.

    Shapes: a name -> d_loss(r [*b], f [*c]) -> [] and g_loss(f [*c]) -> [].
    Article: kexue.fm/archives/4439, 8757.
    Paper: arXiv 1406.2661, 1701.07875, 1705.02894, 2109.02235.
    Differs: "bce01" keeps p and 1 - p at the machine's unit or above, so that values
    rounded to -1 or 1, or beyond, stay finite.
    Cost: one pass over the values.
    Raises: TypeError or ValueError for an unknown name; when called for values that
    are no floating arrays or are empty.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.generative import gan_losses
        >>> d_loss, g_loss = gan_losses("hinge")
        >>> r, f = jnp.array([2.0, 0.5]), jnp.array([-3.0, 0.0])
        >>> print(d_loss(r, f), g_loss(f))
        0.75 1.5
    """
    checks.choice("gan_losses", "name", name, tuple(_TERMS))
    real, fake, generated = _TERMS[name]

    def d_loss(r: jax.Array, f: jax.Array) -> jax.Array:
        _check_values("d_loss", "r", r)
        _check_values("d_loss", "f", f)
        checks.same_dtype("d_loss", r=r, f=f)
        return (_mean(real, r) + _mean(fake, f)).astype(r.dtype)

    def g_loss(f: jax.Array) -> jax.Array:
        _check_values("g_loss", "f", f)
        return _mean(generated, f).astype(f.dtype)

    return GanLosses(d_loss, g_loss)


Term = Callable[[jax.Array], jax.Array]


def _negative(v: jax.Array) -> jax.Array:
    return -v


def _same(v: jax.Array) -> jax.Array:
    return v


def _log_probability(v: jax.Array) -> jax.Array:
    """-log of (v + 1) / 2, kept between the machine's unit and 1."""
    unit = float(jnp.finfo(v.dtype).eps)
    return -jnp.log(jnp.clip((v + 1) / 2, unit, 1))


# Of real values, of fake ones, and the generator's.
_TERMS: dict[str, tuple[Term, Term, Term]] = {
    "wasserstein": (_negative, _same, _negative),
    "hinge": (
        lambda r: jax.nn.relu(1 - r),
        lambda f: jax.nn.relu(1 + f),
        _negative,
    ),
    "ns": (
        lambda r: jax.nn.softplus(-r),
        jax.nn.softplus,
        lambda f: jax.nn.softplus(-f),
    ),
    "minimax": (
        lambda r: jax.nn.softplus(-r),
        jax.nn.softplus,
        lambda f: -jax.nn.softplus(f),
    ),
    "bce01": (
        _log_probability,
        lambda f: _log_probability(-f),
        _log_probability,
    ),
}


def _mean(term: Term, values: jax.Array) -> jax.Array:
    return jnp.mean(term(jnp.asarray(values, accumulation_dtype(values))))


def _check_values(name: str, argument: str, values: jax.Array) -> None:
    checks.array(name, argument, values)
    if not values.size:
        raise checks.fail(
            name, argument, f"shape {values.shape}", "of one value or more"
        )
