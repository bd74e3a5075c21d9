"""The linear recurrence: every form in value and gradient, states, padding, bounds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from experiments.benchmark.cost import compiled_facts
from kexue_jax.ssm import (
    causal_fft_conv,
    linear_scan,
    linear_scan_step,
    ssm_recurrent,
)
from tests.oracles import recurrence as oracle
from tests.ssm.forms import run
from tests.ssm.recurrences import (
    DECAYS,
    FORMS,
    accelerator,
    close,
    problem,
    states,
    value_and_gradient,
)


@functools.cache
def plain(n, decay):
    return value_and_gradient("sequential", problem(n, decay))


@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize("n", [1, 2, 63, 1000])
def test_every_form_equals_the_plain_scan_in_value_and_gradient(n, method) -> None:
    got = value_and_gradient(method, problem(n, "steps of rows"), chunk_size=32)
    assert close(got, plain(n, "steps of rows"))


@pytest.mark.parametrize("decay", DECAYS)
def test_every_shape_of_decay_both_ways_real_and_complex(decay) -> None:
    other = "upper_lower" if decay in ("number", "channels", "rows") else "chunked"
    for dtype, reverse, method in (
        (float, True, "associative"),
        (complex, False, other),
    ):
        inputs = problem(7, decay, dtype=dtype)
        wanted = value_and_gradient("sequential", inputs, reverse=reverse)
        a, b, h0 = inputs
        assert close(wanted[0], oracle.linear_scan(a, b, h0=h0, reverse=reverse))
        for form in ("auto", method):
            got = value_and_gradient(form, inputs, reverse=reverse, chunk_size=4)
            assert close(got, wanted), (form, dtype)


@pytest.mark.parametrize("n", [1, 2, 100])
def test_upper_and_lower_blocks_equal_the_scan(n) -> None:
    got = value_and_gradient("upper_lower", problem(n, "channels"))
    assert close(got, plain(n, "channels"))


def test_accelerators_go_by_chunks_beyond_a_length() -> None:
    inputs = problem(100, "channels")
    wanted = plain(100, "channels")
    with accelerator(), pytest.MonkeyPatch.context() as patch:
        assert close(value_and_gradient("auto", inputs), wanted)
        patch.setattr("kexue_jax.ssm._engine.LONG", 50)
        assert close(value_and_gradient("auto", inputs, chunk_size=16), wanted)
        scan = functools.partial(linear_scan, chunk_size=16)
        assert "scan" in str(jax.make_jaxpr(scan)(*inputs[:2]))


@pytest.mark.parametrize("method", FORMS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_every_axis_of_time(axis, method) -> None:
    a, b, _ = problem(8)
    got = states(method, a, b, axis=axis, chunk_size=3)
    assert close(got, oracle.linear_scan(a, b, axis=axis))


@pytest.mark.parametrize("method", FORMS)
def test_a_state_in_the_middle_continues_exactly(method) -> None:
    a, b, h0 = problem(40)
    go = functools.partial(states, method, chunk_size=16)
    whole, cut = np.asarray(go(a, b, h0=h0)), 19
    first = np.asarray(go(a[:, :cut], b[:, :cut], h0=h0))
    second = go(a[:, cut:], b[:, cut:], h0=first[:, -1])
    assert close(np.concatenate([first, second], 1), whole, 1e-14)
    state, step = first[:, -1], jax.jit(linear_scan_step)
    for t in range(cut, 30):
        state = step(state, a[:, t], b[:, t])
    assert close(state, whole[:, 29], 1e-14)
    back = go(a, b, h0=h0, reverse=True)
    later = np.asarray(go(a[:, cut:], b[:, cut:], h0=h0, reverse=True))
    sooner = go(a[:, :cut], b[:, :cut], h0=later[:, 0], reverse=True)
    assert close(np.concatenate([sooner, later], 1), back, 1e-14)


@pytest.mark.parametrize("method", FORMS)
def test_padding_passes_the_state_on(method) -> None:
    a, b, h0 = problem(20)
    keep = np.arange(20)[None] < np.array([[13], [20]])
    a = np.where(keep[..., None], a, 1)
    b = np.where(keep[..., None], b, 0)
    h = np.asarray(states(method, a, b, h0, chunk_size=8))
    assert close(h[0, 13:], np.broadcast_to(h[0, 12], (7, 3)), 1e-15)
    # Without the decay of 1 the state would go on fading.
    wrong = states(method, problem(20)[0], b, h0, chunk_size=8)
    assert np.abs(wrong[0, -1] / h[0, -1]).max() < 0.5


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
@pytest.mark.parametrize("method", FORMS)
def test_single_precision_within_the_bounds_of_the_card(method, dtype) -> None:
    # 16,384 steps; relative errors, root mean square, of r = 0.9 and 0.999.
    turn = 1.0 if dtype is np.float32 else np.exp(2j)
    u = np.random.default_rng(0).normal(size=(16384, 2))
    rates = np.array([0.9, 0.999]) * turn
    got = np.asarray(states(method, rates.astype(dtype), u.astype(dtype)))
    assert got.dtype == dtype

    def error(rates, u):
        wanted = oracle.linear_scan(rates, u)
        return np.linalg.norm(got - wanted, axis=0) / np.linalg.norm(wanted, axis=0)

    exact = error(rates, u)
    assert exact[0] < 4e-7 and exact[1] < 3e-5, exact
    # Most of the second is the rounding of 0.999 itself.
    rounded = error(rates.astype(dtype).astype(rates.dtype), u.astype(dtype))
    assert rounded[1] < (2e-6 if method == "auto" else 1.5e-5), rounded


def test_running_sums_of_grown_inputs_overflow_where_the_card_says() -> None:
    # lambda^t cumsum(lambda^-k u_k), the form that is not offered.
    for rate, place in ((0.9, 842), (0.99, 8827), (0.999, 88677)):
        t = np.arange(place + 10, dtype=np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            grown = np.float32(rate) ** -t
            first, sums = (np.isfinite(x) for x in (grown, np.cumsum(grown)))
        assert abs(int(np.argmin(first)) - place) <= place / 1000 + 1
        assert 0 < int(np.argmin(sums)) <= place + place / 1000 + 1
        good = linear_scan(np.float32([rate]), np.ones((len(t), 1), np.float32))
        assert np.isfinite(good).all()
        assert float(good[-1, 0]) == pytest.approx(1 / (1 - rate), rel=1e-2)


def test_under_vmap_and_second_derivatives() -> None:
    a, b, h0 = problem(30)
    scan = lambda a, b, h0: linear_scan(a, b, h0=h0)  # noqa: E731
    assert close(run(jax.vmap(scan), a, b, h0), run(scan, a, b, h0), 1e-15)
    shared = run(jax.vmap(scan, (None, 0, None)), a[0], b, h0[0])
    assert close(shared, run(scan, a[0], b, h0[0]), 1e-15)

    def curvature(method):
        def slope(a):
            f = lambda a: jnp.cos(linear_scan(a, b, method=method)).sum()  # noqa: E731
            return (jax.grad(f)(a) ** 2).sum()

        return jax.jit(jax.grad(slope))(a)

    assert close(curvature("auto"), curvature("sequential"), 1e-11)
    assert close(curvature("associative"), curvature("sequential"), 1e-11)


@pytest.mark.parametrize("method", FORMS)
def test_rows_divided_over_devices(method) -> None:
    a, b, _ = problem(20, "channels")
    mesh = jax.make_mesh((1,), ("rows",), axis_types=(AxisType.Auto,))
    rows, same = PartitionSpec("rows"), PartitionSpec()
    scan = functools.partial(linear_scan, method=method, chunk_size=8)
    split = jax.shard_map(scan, mesh=mesh, in_specs=(same, rows), out_specs=rows)

    def gradient(f):
        return jax.jit(jax.grad(lambda *x: jnp.cos(f(*x)).sum(), (0, 1)))(a, b)

    assert close(gradient(split), gradient(scan), 1e-14)


def test_half_types_are_summed_in_float32() -> None:
    a, b = jnp.full((1,), 0.999, jnp.float32), jnp.ones((4000, 1), jnp.bfloat16)
    got = linear_scan(a, b)
    assert got.dtype == jnp.bfloat16
    assert float(got[-1, 0]) == pytest.approx(1000 * (1 - 0.999**4000), rel=5e-3)
    mixed = linear_scan(a.astype(jnp.complex64), b)
    assert mixed.dtype == jnp.complex64


def peak(n: int, decay: str, method: str = "auto") -> float:
    """Bytes of memory of the gradient at n steps of [2, n, 3] float32."""
    inputs = problem(n, decay, dtype=np.float32)

    def total(*x):
        return jnp.cos(linear_scan(x[0], x[1], h0=x[2], method=method)).sum()

    compiled = jax.jit(jax.grad(total, (0, 1, 2))).lower(*inputs).compile()
    return compiled_facts(compiled)["peak_bytes"] / (2 * n * 3 * 4)


def test_a_decay_is_not_spread_in_memory() -> None:
    # In arrays of the size of b: results and their gradients, and nothing for a.
    assert peak(4096, "channels") < 4.1
    assert peak(4096, "channels") < peak(4096, "all") < 6.1
    assert peak(16384, "channels") == pytest.approx(peak(4096, "channels"), rel=0.05)


def test_the_dense_recurrence_and_its_hand_over() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(4, 4)) / 4
    b, c = rng.normal(size=(4, 2)), rng.normal(size=(3, 4))
    u, x0 = rng.normal(size=(2, 30, 2)), rng.normal(size=(2, 4))
    go_on = jax.jit(lambda a, u, x: ssm_recurrent(a, b, c, u, state=x))
    whole = go_on(a, u, x0)
    assert close(whole, oracle.ssm_recurrent(a, b, c, u, state=x0))
    first = go_on(a, u[:, :11], x0)
    second = go_on(a, u[:, 11:], first.state)
    assert close((second.state, np.concatenate([first.out, second.out], 1)), whole)
    # A diagonal system is the diagonal scan.
    rates = rng.random(4)
    h = np.asarray(run(linear_scan, rates, u @ b.T, h0=x0))
    assert close(go_on(np.diag(rates), u, x0), (h[:, -1], h @ c.T))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 5), (63, 63), (200, 7)])
def test_the_fast_convolution_is_linear_and_causal(n, k) -> None:
    rng = np.random.default_rng(2)
    u, kernel = rng.normal(size=(2, n, 3)), rng.normal(size=(k, 3))
    got = np.asarray(run(causal_fft_conv, u, kernel))
    assert close(got, oracle.causal_conv(u, kernel))
    assert close(run(causal_fft_conv, u + 0j, kernel), got)
    # Without the padding the end of the sequence wraps around to its beginning.
    circular = np.fft.irfft(
        np.fft.rfft(u, axis=1) * np.fft.rfft(kernel[:n], n, axis=0), n, axis=1
    )
    assert n == 1 or np.abs(circular - got).max() > 0.1


def test_a_kernel_of_powers_is_the_recurrence() -> None:
    a, b, _ = problem(200, "channels")
    kernel = a[None] ** np.arange(200.0)[:, None]

    def both(f):
        found = lambda b: (f(b), jax.grad(lambda b: jnp.cos(f(b)).sum())(b))  # noqa: E731
        return run(found, b)

    by_fft = functools.partial(causal_fft_conv, kernel=kernel)
    by_scan = functools.partial(linear_scan, a)
    assert close(both(by_fft), both(by_scan), 1e-12)
