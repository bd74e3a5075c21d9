"""Contract rows of the selective scan, retention and RWKV-4's mixing."""

import numpy as np

from kexue_jax import ssm
from tests.contract.case import Bad, Case
from tests.oracles import mixing as oracle

NO_FORWARD = (
    "the fast form has a custom gradient and no forward mode; reverse mode is checked "
    "against the plain scan in tests/ssm"
)
GROWS = "a decay above 1 is not one: e^(1e8) overflows as the formula says"


def tokens(rng, e=3, n=2):
    x, b, c = rng.normal(size=(2, 5, e)), *rng.normal(size=(2, 2, 5, n))
    delta, a = rng.random((2, 5, e)) + 0.1, -rng.random((e, n)) - 0.1
    return x, delta, a, b, c, rng.normal(size=e)


def token(rng):
    x, delta, a, b, c, d = tokens(rng)
    return rng.normal(size=(2, 2, 3)), x[:, 0], delta[:, 0], a, b[:, 0], c[:, 0], d


def selective(x, delta, a, b, c, d, *, method, chunk_size, state=None):
    """The outputs alone: a state is in at least float32."""
    options = {"method": method, "chunk_size": chunk_size, "state": state}
    return ssm.selective_scan(x, delta, a, b, c, d, **options).out


def selective_oracle(*arrays, method, chunk_size):
    return oracle.selective_scan(*arrays)[1]


def one_selected(state, x, delta, a, b, c, d):
    return ssm.selective_step(state, x, delta, a, b, c, d).out


def one_selected_oracle(state, x, delta, a, b, c, d):
    x, delta, b, c = (p[..., None, :] for p in (x, delta, b, c))
    return oracle.selective_scan(x, delta, a, b, c, d, state=state)[1][..., 0, :]


def heads(rng, n=2, d=3):
    q, k = rng.normal(size=(2, 2, 5, n))
    return q, k, rng.normal(size=(2, 5, d)), -rng.random((2, 1))


def head(rng):
    q, k, v, decay = heads(rng)
    return rng.normal(size=(2, 2, 3)), q[:, 0], k[:, 0], v[:, 0], decay[:, 0]


def retained(q, k, v, log_decay, *, method, chunk_size, state=None):
    options = {"method": method, "chunk_size": chunk_size, "state": state}
    return ssm.retention(q, k, v, log_decay, **options).out


def retained_oracle(*arrays, method, chunk_size):
    return oracle.retention(*arrays)[1]


def one_retained(state, q, k, v, log_decay):
    return ssm.retention_step(state, q, k, v, log_decay).out


def one_retained_oracle(state, q, k, v, log_decay):
    q, k, v = (x[..., None, :] for x in (q, k, v))
    return oracle.retention(q, k, v, log_decay[..., None], state=state)[1][..., 0, :]


def mixed(rng):
    r, k, v = rng.normal(size=(3, 2, 5, 3))
    return r, k, v, -rng.random(3), rng.normal(size=3)


def mixing(r, k, v, log_decay, log_bonus, *, method, chunk_size, state=None):
    options = {"method": method, "chunk_size": chunk_size, "state": state}
    return ssm.wkv(r, k, v, log_decay, log_bonus, **options).out


def mixing_oracle(*arrays, method, chunk_size):
    return oracle.wkv(*arrays)


def one_mixed(state, r, k, v, log_decay, log_bonus):
    return ssm.wkv_step(state, r, k, v, log_decay, log_bonus).out


def one_mixed_oracle(state, r, k, v, log_decay, log_bonus):
    new, old = np.exp(log_bonus + k), np.exp(state.m)
    mean = (old * state.y + new * v) / (old * state.z + new)
    return mean / (1 + np.exp(-r))


def one_to_mix(rng):
    r, k, v, *rest = mixed(rng)
    y, m, z = rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.random((2, 3)) + 1
    return ssm.WkvState(y, z, m), r[:, 0], k[:, 0], v[:, 0], *rest


BAD_TOKENS = (
    Bad("x", args={0: np.ones((2, 0, 3))}),
    Bad("delta", args={1: np.ones((2, 5, 2))}),
    Bad("delta", args={1: np.ones((2, 5, 3), np.float16)}),
    Bad("a", args={2: np.ones((2, 3))}),
    Bad("b", args={3: np.ones((2, 4, 2))}),
    Bad("c", args={4: np.ones((2, 5, 3))}),
    Bad("d", args={5: np.ones(2)}),
    Bad("state", static={"state": np.ones((2, 3, 2))}),
    Bad("state", static={"state": np.ones((2, 2, 3), int)}),
)
BAD_HEADS = (
    Bad("q", args={0: np.ones((2, 0, 2))}),
    Bad("k", args={1: np.ones((2, 5, 3))}),
    Bad("k", args={1: np.ones((2, 5, 2), np.float16)}),
    Bad("v", args={2: np.ones((2, 4, 3))}),
    Bad("v", args={2: np.ones((2, 5, 0))}),
    Bad("log_decay", args={3: np.ones((2, 2))}),
    Bad("state", static={"state": np.ones((2, 3, 2))}),
)
BAD_MIXED = (
    Bad("r", args={0: np.ones((2, 0, 3))}),
    Bad("k", args={1: np.ones((2, 4, 3))}),
    Bad("v", args={2: np.ones((2, 5, 3), np.float16)}),
    Bad("log_decay", args={3: np.ones(2)}),
    Bad("log_bonus", args={4: np.ones((1, 3))}),
    Bad("state", static={"state": (1, 2)}),
    Bad("state.m", static={"state": ssm.WkvState(*np.ones((2, 2, 3)), np.ones(3))}),
)


def forms(name, function, inputs, answer, methods, bad):
    """A row for the fast form and one for each form that is read."""
    fast = methods[0]
    return tuple(
        Case(
            name,
            inputs,
            answer,
            {"method": method, "chunk_size": 2},
            variant="" if method == fast else method,
            call=function,
            optional=("d",),
            grad=method != fast or name == "ssm.wkv",
            extremes=False,
            reason=f"{NO_FORWARD}; {GROWS}",
            bad=bad,
        )
        for method in methods
    )


ROWS = (
    *forms(
        "ssm.selective_scan",
        selective,
        tokens,
        selective_oracle,
        ("auto", "sequential"),
        BAD_TOKENS,
    ),
    Case(
        "ssm.selective_step",
        token,
        one_selected_oracle,
        call=one_selected,
        optional=("d",),
        extremes=False,
        reason=GROWS,
        bad=(
            Bad("state", args={0: np.ones((2, 3, 2))}),
            Bad("x", args={1: np.ones((2, 3), np.float16)}, traced=False),
            Bad("delta", args={2: np.ones((2, 2))}),
        ),
    ),
    *forms(
        "ssm.retention",
        retained,
        heads,
        retained_oracle,
        ("chunked", "parallel", "recurrent"),
        BAD_HEADS,
    ),
    Case(
        "ssm.retention_step",
        head,
        one_retained_oracle,
        call=one_retained,
        extremes=False,
        reason=GROWS,
        bad=(
            Bad("state", args={0: np.ones((2, 3, 2))}),
            Bad("k", args={2: np.ones((2, 3))}),
            Bad("log_decay", args={4: np.ones(3)}),
        ),
    ),
    Case(
        "ssm.retention_log_decays",
        lambda rng: (),
        lambda *, heads: np.log(1 - 2.0 ** (-5 - np.arange(heads))),
        {"heads": 8},
        takes_dtype=True,
        grad=False,
        vmap=False,
        extremes=False,
        follows=None,
        reason="it has no array arguments",
        bad=(
            Bad("dtype", static={"dtype": int}),
            Bad("dtype", static={"dtype": "no such type"}),
            Bad("heads", static={"heads": 0}),
            Bad("heads", static={"heads": True}),
        ),
    ),
    *forms(
        "ssm.wkv",
        mixing,
        mixed,
        mixing_oracle,
        ("auto", "associative"),  # "auto" is "sequential" on the CPU of the tests
        BAD_MIXED,
    ),
    Case(
        "ssm.wkv_step",
        one_to_mix,
        one_mixed_oracle,
        call=one_mixed,
        optional=("state",),
        extremes=False,
        reason=GROWS,
        bad=(
            Bad("state", args={0: (1, 2)}, traced=False),
            Bad("k", args={2: np.ones((2, 4))}),
            Bad("log_bonus", args={5: np.ones(4)}),
        ),
    ),
)
