"""The five parametrizations of a denoising network and all ways between them.

The blog's first articles predict eps1, the noise of the last step alone; the papers
predict eps, all the noise in x_t; others the data x0, the velocity v or the score.
"""

from collections.abc import Callable

import jax

from kexue_jax._base import checks
from kexue_jax._base.masks import safe_divide
from kexue_jax.diffusion.indexing import Entries, check_inputs, entries
from kexue_jax.diffusion.schedules import Schedule

PARAMS = ("eps", "eps1", "x0", "v", "score")


def convert(
    schedule: Schedule,
    x_t: jax.Array,
    t: jax.Array,
    out: jax.Array,
    *,
    from_: str,
    to: str,
) -> jax.Array:
    """The output of a network in parametrization ``from_``, said in ``to``.

    x_t = alpha_bar_t x0 + beta_bar_t eps, eps = (beta_bar_t / beta_t) eps1,
    v = alpha_bar_t eps - beta_bar_t x0, score = -eps / beta_bar_t.

    Shapes: t [...] integer, x_t and out [..., *d] -> [..., *d].
    Article: kexue.fm/archives/9164.  Paper: arXiv 2006.11239; v: arXiv 2202.00512.
    Differs: the pairs are 25 direct formulas; a detour through x0 would divide by
    alpha_bar_t and lose 1 / alpha_bar_t^2 of the precision near T. At t = 0, where x_t
    is x0 and says nothing of eps, a traced t takes ratios to beta_bar_0 = 0 as 0.
    Cost: one pass over x_t.
    Raises: TypeError or ValueError for a wrong dtype, shape or name, and for a
    concrete t outside of 1..T (0..T if ``to`` is "x0").
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import convert, linear_schedule
        >>> schedule, t = linear_schedule(T=1000), jnp.array([600])
        >>> x_t, eps = jnp.array([0.5]), jnp.array([0.4])
        >>> v = convert(schedule, x_t, t, eps, from_="eps", to="v")
        >>> print(f"{convert(schedule, x_t, t, v, from_='v', to='eps')[0]:.6f}")
        0.400000
    """
    name = "convert"
    checks.choice(name, "from_", from_, PARAMS)
    checks.choice(name, "to", to, PARAMS)
    return _convert(name, schedule, x_t, t, out, from_, to)


def predict_x0(
    schedule: Schedule,
    x_t: jax.Array,
    t: jax.Array,
    out: jax.Array,
    *,
    param: str = "eps",
) -> jax.Array:
    """The network's estimate of the data.

    x0 = (x_t - beta_bar_t eps) / alpha_bar_t, and ``convert`` for the other names.

    Shapes: t [...] integer, x_t and out [..., *d] -> [..., *d].
    Article: kexue.fm/archives/9164.  Paper: arXiv 2006.11239, eq. 15.
    Differs: no; it is not clipped to the range of the data.
    Cost: one pass over x_t.
    Raises: TypeError or ValueError for a wrong dtype, shape or name, and for a
    concrete t outside of 0..T.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import linear_schedule, predict_x0
        >>> schedule, t = linear_schedule(T=1000), jnp.array([0])
        >>> predict_x0(schedule, jnp.array([0.5]), t, jnp.array([9.0])).tolist()
        [0.5]
    """
    checks.choice("predict_x0", "param", param, PARAMS)
    return _convert("predict_x0", schedule, x_t, t, out, param, "x0")


def predict_eps(
    schedule: Schedule,
    x_t: jax.Array,
    t: jax.Array,
    out: jax.Array,
    *,
    param: str,
) -> jax.Array:
    """The network's estimate of the noise.

    eps = (x_t - alpha_bar_t x0) / beta_bar_t, and ``convert`` for the other names.

    Shapes: t [...] integer, x_t and out [..., *d] -> [..., *d].
    Article: kexue.fm/archives/9164.  Paper: arXiv 2006.11239, eq. 9.
    Differs: no.
    Cost: one pass over x_t.
    Raises: TypeError or ValueError for a wrong dtype, shape or name, and for a
    concrete t outside of 1..T.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.diffusion import predict_eps, schedule_from_alpha_bar
        >>> schedule, t = schedule_from_alpha_bar([0.8]), jnp.array([1])
        >>> x_t, x0 = jnp.array([2.0]), jnp.array([1.0])
        >>> print(f"{predict_eps(schedule, x_t, t, x0, param='x0')[0]:.5f}")
        2.00000
    """
    checks.choice("predict_eps", "param", param, PARAMS)
    return _convert("predict_eps", schedule, x_t, t, out, param, "eps")


def _convert(
    function: str,
    schedule: Schedule,
    x_t: jax.Array,
    t: jax.Array,
    out: jax.Array,
    from_: str,
    to: str,
) -> jax.Array:
    minimum = 0 if to == "x0" else 1
    t = check_inputs(function, schedule, t, minimum, x_t=x_t, out=out)
    if from_ == to:
        return out.astype(x_t.dtype)
    at = entries(schedule, t, x_t, out)
    formula = _FORMULAS[from_, to]
    return formula(x_t.astype(at.dtype), out.astype(at.dtype), at).astype(x_t.dtype)


Formula = Callable[[jax.Array, jax.Array, Entries], jax.Array]

# (from, to): the formula in x = x_t, o = the output, c = the schedule's entries at t.
# ``over`` divides, and gives 0 where beta_0 or beta_bar_0 = 0 stands below.
over = safe_divide
_FORMULAS: dict[tuple[str, str], Formula] = {
    ("eps", "eps1"): lambda x, o, c: over(c.beta, c.beta_bar) * o,
    ("eps", "x0"): lambda x, o, c: (x - c.beta_bar * o) / c.alpha_bar,
    ("eps", "v"): lambda x, o, c: (o - c.beta_bar * x) / c.alpha_bar,
    ("eps", "score"): lambda x, o, c: -over(o, c.beta_bar),
    ("eps1", "eps"): lambda x, o, c: over(c.beta_bar, c.beta) * o,
    ("eps1", "x0"): lambda x, o, c: (x - over(c.beta_bar**2, c.beta) * o) / c.alpha_bar,
    ("eps1", "v"): lambda x, o, c: (
        (over(c.beta_bar, c.beta) * o - c.beta_bar * x) / c.alpha_bar
    ),
    ("eps1", "score"): lambda x, o, c: -over(o, c.beta),
    ("x0", "eps"): lambda x, o, c: over(x - c.alpha_bar * o, c.beta_bar),
    ("x0", "eps1"): lambda x, o, c: (
        over(c.beta, c.beta_bar) * over(x - c.alpha_bar * o, c.beta_bar)
    ),
    ("x0", "v"): lambda x, o, c: over(c.alpha_bar * x - o, c.beta_bar),
    ("x0", "score"): lambda x, o, c: over(c.alpha_bar * o - x, c.beta_bar**2),
    ("v", "eps"): lambda x, o, c: c.beta_bar * x + c.alpha_bar * o,
    ("v", "eps1"): lambda x, o, c: (
        c.beta * x + over(c.beta, c.beta_bar) * c.alpha_bar * o
    ),
    ("v", "x0"): lambda x, o, c: c.alpha_bar * x - c.beta_bar * o,
    ("v", "score"): lambda x, o, c: -x - c.alpha_bar * over(o, c.beta_bar),
    ("score", "eps"): lambda x, o, c: -c.beta_bar * o,
    ("score", "eps1"): lambda x, o, c: -c.beta * o,
    ("score", "x0"): lambda x, o, c: (x + c.beta_bar**2 * o) / c.alpha_bar,
    ("score", "v"): lambda x, o, c: -c.beta_bar * (x + o) / c.alpha_bar,
}
