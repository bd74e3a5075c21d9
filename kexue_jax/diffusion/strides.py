"""Sub-sequences of the time steps for short chains: they start at T and end at 0."""

from typing import Any

import numpy as np

from kexue_jax._base import checks

KINDS = ("trailing", "leading", "quadratic")


def ddim_taus(*, T: int, S: int, kind: str = "trailing") -> np.ndarray:
    """The S time steps of a short chain, increasing within 1..T.

    trailing: tau_i = T i / S; quadratic: tau_i = T (i / S)^2, and at least i; leading:
    tau_i = 1 + (i - 1) (T // S); rounded, for i = 1..S.

    Shapes: -> int32 NumPy [S].
    Article: kexue.fm/archives/9181.  Paper: arXiv 2010.02502, appendix D.2.
    Differs: trailing (recommended) and quadratic end at T exactly, where sampling
    starts; the paper's ``c i^2`` may stop short of it. The quadratic steps are raised
    to i where rounding would repeat them. Leading, the ``[::stride]`` of much code,
    ends below T: its noise level is not that of N(0, I), so feed it x_T noised to its
    last step, not pure noise. Step 0 (the data) is not in the list: samplers add it.
    Cost: O(S).
    Raises: TypeError or ValueError unless T and S are integers with 1 <= S <= T and the
    kind is known.
    Example:
        >>> from kexue_jax.diffusion import ddim_taus
        >>> ddim_taus(T=1000, S=4).tolist(), ddim_taus(T=9, S=6, kind="quadratic")[-1]
        ([250, 500, 750, 1000], np.int32(9))
    """
    checks.count("ddim_taus", "T", T)
    checks.count("ddim_taus", "S", S)
    checks.choice("ddim_taus", "kind", kind, KINDS)
    if S > T:
        raise checks.fail("ddim_taus", "S", S, f"at most T = {T}")
    i = np.arange(1, S + 1, dtype=np.int64)
    if kind == "trailing":
        taus = (2 * T * i + S) // (2 * S)
    elif kind == "leading":
        taus = 1 + (i - 1) * (T // S)
    else:
        taus = np.maximum(i, (2 * T * i**2 + S**2) // (2 * S**2))
    return taus.astype(np.int32)


def check_taus(name: str, taus: Any, T: int) -> Any:
    """``taus`` as an integer array [S], validated where its values are known."""
    values = checks.known(taus) if checks.is_array(taus) else taus
    if values is not None:
        values = taus = checks.concrete(name, "taus", values, "integer")
    checks.array(name, "taus", taus, "integer")
    if taus.ndim != 1 or not taus.shape[0]:
        raise checks.fail(name, "taus", f"shape {taus.shape}", "of shape [S], S >= 1")
    if values is None:
        return taus
    if values[0] < 1 or values[-1] > T or not (np.diff(values) > 0).all():
        wanted = f"strictly increasing within 1..{T}"
        raise checks.fail(name, "taus", values.tolist(), wanted)
    return values.astype(np.int32)
