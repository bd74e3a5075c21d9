"""How many dimensions a random projection needs."""

import math

from kexue_jax._base import checks
from kexue_jax.embeddings._chi_squared import log_tails

RULES = ("24", "16", "dasgupta_gupta", "exact")


def jl_dim(
    *,
    num_points: int,
    eps: float,
    rule: str = "dasgupta_gupta",
    delta: float | None = None,
) -> int:
    """The dimension in which N points keep their squared distances to within eps.

    With N = num_points, by ``rule`` the least integer of at least

    - "24": 24 log N / eps^2, enough with probability 1 - 1/N;
    - "16": 16 log N / eps^2, enough with probability 1/N, so that a projection exists;
    - "dasgupta_gupta": 4 log N / (eps^2/2 - eps^3/3), that exists;
    - "exact": the least n with N (N-1)/2 P(|chi^2_n / n - 1| >= eps) <= delta, which is
      the union bound with the law of a Gaussian projection itself; delta = 1/N if None.

    Shapes: none -> int.
    Article: kexue.fm/archives/8679, 8706.  Paper: Dasgupta & Gupta 2003.
    Differs: the article has "24" and "16"; the other two are smaller. Inner products of
    unit vectors need the same n, at twice the probability of failure. All are worst
    cases: they know nothing of the data, nor of its dimension.
    Cost: "exact" 30 tails of O(1 / eps) operations in float64 on the host.
    Raises: TypeError or ValueError unless N is an integer of at least 2, eps in (0, 1),
    and delta in (0, 1) if given, which only "exact" takes.
    Example:
        >>> from kexue_jax.embeddings import jl_dim
        >>> [jl_dim(num_points=1000, eps=0.1, rule=r) for r in ("24", "16", "exact")]
        [16579, 11053, 7403]
    """
    name = "jl_dim"
    checks.count(name, "num_points", num_points, minimum=2)
    _check_share(name, "eps", eps)
    checks.choice(name, "rule", rule, RULES)
    if delta is not None:
        _check_share(name, "delta", delta)
        if rule != "exact":
            raise checks.fail(name, "delta", delta, f"None under the rule {rule!r}")
    log_n, eps = math.log(num_points), float(eps)
    if rule == "exact":
        return _exact(int(num_points), eps, 1 / num_points if delta is None else delta)
    if rule == "dasgupta_gupta":
        return math.ceil(4 * log_n / (eps**2 / 2 - eps**3 / 3))
    return math.ceil(int(rule) * log_n / eps**2)


def _check_share(name: str, argument: str, value: float) -> None:
    bounds = {"open_minimum": True, "open_maximum": True}
    checks.number(name, argument, value, minimum=0, maximum=1, **bounds)


def _exact(num_points: int, eps: float, delta: float) -> int:
    """The least n, between two powers of two, by halving."""
    pairs = num_points * (num_points - 1) // 2
    wanted = math.log(delta) - math.log(pairs)

    def enough(n: int) -> bool:
        upper, lower = log_tails(n, eps)
        high, low = max(upper, lower), min(upper, lower)
        return high + math.log1p(math.exp(low - high)) <= wanted

    above = 1
    while not enough(above):
        above *= 2
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if enough(middle) else (middle, above)
    return above
