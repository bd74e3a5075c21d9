"""Kernels and layers divided over devices, by channels and by rows of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from kexue_jax import ssm

CHANNEL, ROW, ALL = PartitionSpec("parts"), PartitionSpec("parts"), PartitionSpec()
FEATURE = PartitionSpec(None, None, "parts")


def modes(h=2, n=3):
    lam, b = (jnp.tile(x[None], (h, 1)) for x in ssm.s4d_init(kind="lin", n=2 * n))
    return lam, b, 0.3 * b, jnp.full(h, 0.1, jnp.float32)


LAM, B, C, DT = modes()
U = jnp.ones((2, 9, 2), jnp.float32)
A = jnp.full((2, 4), 0.1, jnp.float32)
LRU, S5 = (f(jax.random.key(0), n=3, h=2) for f in (ssm.lru_init, ssm.s5_init))


def s4(lam, p, b, c, dt):
    return ssm.s4_kernel(lam, p, b, c, dt, length=8, half=True)


def s4d(lam, b, c, dt, u):
    return ssm.s4d_conv(lam, b, c, dt, u, block=4).out


def rtf(a, c, u):
    return ssm.rtf_scan(ssm.rtf_from_reflection(a), c, u).out


FORMS = {
    "s4_kernel": (s4, (LAM, 0.1 * LAM[..., None], B, C, DT), (CHANNEL,) * 5, CHANNEL),
    "s4d_conv": (s4d, (LAM, B, C, DT, U), (*(CHANNEL,) * 4, FEATURE), FEATURE),
    "s4d_conv rows": (s4d, (LAM, B, C, DT, U), (*(ALL,) * 4, ROW), ROW),
    "rtf": (rtf, (A, A, U), (CHANNEL, CHANNEL, FEATURE), FEATURE),
    "rtf rows": (rtf, (A, A, U), (ALL, ALL, ROW), ROW),
    "lru rows": (lambda p, u: ssm.lru_apply(p, u).out, (LRU, U), (ALL, ROW), ROW),
    "s5 rows": (lambda p, u: ssm.s5_apply(p, u).out, (S5, U), (ALL, ROW), ROW),
}


@pytest.mark.parametrize("name", FORMS)
def test_divided_over_devices(name) -> None:
    f, inputs, ins, out = FORMS[name]
    mesh = jax.make_mesh((1,), ("parts",), axis_types=(AxisType.Auto,))
    split = jax.shard_map(f, mesh=mesh, in_specs=ins, out_specs=out)

    def both(f):
        places = tuple(range(len(inputs)))
        total = lambda *x: (f(*x) ** 2).sum()  # noqa: E731
        return jax.jit(lambda *x: (f(*x), jax.grad(total, places)(*x)))(*inputs)

    got, wanted = (jax.tree.leaves(both(form)) for form in (split, f))
    for mine, theirs in zip(got, wanted, strict=True):
        assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()
