"""What --accumulate, --compute_dtype and --recompute promise, on the step of ddpm."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._diffusion import settings
from experiments._harness.gradients import value_and_grad
from kexue_jax import diffusion
from tests.distributed.cases import apart, ddpm_case, ddpm_config, images

ROWS = 32
SUMS = ("reduce_sum", "reduce_window_sum")


@functools.cache
def lowered(**values):
    """The step of ddpm on shapes alone: its jaxpr's parts and its lowering."""
    case = ddpm_case(jnp.float32, batch_size=ROWS, **values)
    state = jax.eval_shape(case.init, jax.random.key(0))
    batch = {
        name: jax.ShapeDtypeStruct((ROWS, *array.shape[1:]), array.dtype)
        for name, array in case.data.items()
    }
    traced = jax.jit(case.step).trace(state, batch)
    return traced.jaxpr, traced.lower(), state, traced.out_info


def temporary(**values) -> int:
    """Bytes that the compiled step needs beside its arguments and results."""
    return lowered(**values)[1].compile().memory_analysis().temp_size_in_bytes


def equations(jaxpr):
    """Every equation, those inside of others too."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def forward(**values):
    """The loss of ddpm on one batch as a function of the parameters, and arguments."""
    config, data = ddpm_config(**values), images()
    model = settings.build_model(config, data)
    predict, schedule = settings.network(config, model), settings.build_schedule(config)
    x = jax.ShapeDtypeStruct((ROWS, *data.shape), jnp.float32)
    t = jax.ShapeDtypeStruct((ROWS,), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0))

    def loss(params, x, t):
        out = diffusion.ddpm_loss_at(
            functools.partial(predict, params), schedule, x, t, x, param="v"
        )
        return out.loss

    return loss, params, x, t


def kept(**values) -> int:
    """Bytes that the forward pass keeps for the backward pass."""
    loss, *arguments = forward(**values)
    backward = jax.eval_shape(lambda *a: jax.vjp(loss, *a)[1], *arguments)
    leaves = jax.tree.leaves(backward)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def run(steps, **values):
    """The state and the losses after some steps from one start."""
    case = ddpm_case(jnp.float32, **values)
    state, losses = case.init(jax.random.key(0)), []
    step = jax.jit(case.step)
    for number in range(steps):
        rows = np.arange(16 * number, 16 * (number + 1)) % 40
        batch = {name: array[rows] for name, array in case.data.items()}
        state, scalars = step(state, batch)
        losses.append(float(scalars["loss"]))
    return state, np.array(losses)


def layers(key, depth=8, width=32):
    shape = (depth, width, width)
    return {"w": jax.random.normal(key, shape, jnp.float64) / width**0.5}


def deep_loss(params, part, number):
    h = part["x"]
    for w in params["w"]:
        h = jnp.tanh(h @ w)
    return jnp.mean(jnp.square(h))


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
@pytest.mark.parametrize("parts", [2, 8])
def test_the_parts_of_a_batch_give_the_gradient_of_the_whole(
    parts, backend, monkeypatch
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # how it is written
    params = layers(jax.random.key(1))
    batch = {"x": jax.random.normal(jax.random.key(2), (24, 32), jnp.float64)}
    whole = jax.jit(functools.partial(value_and_grad, deep_loss))(params, batch)
    found = jax.jit(functools.partial(value_and_grad, deep_loss, parts=parts))
    assert apart(found(params, batch), whole) < 1e-13
    numbers = functools.partial(value_and_grad, lambda p, b, n: p["w"].sum() * n)
    np.testing.assert_allclose(
        numbers(params, batch, parts=parts)[0], params["w"].sum() * (parts - 1) / 2
    )


def test_rows_that_do_not_divide_are_refused():
    batch = {"x": jnp.zeros((5, 32))}
    with pytest.raises(ValueError, match="5 rows does not divide into 2 parts"):
        value_and_grad(deep_loss, layers(jax.random.key(1)), batch, parts=2)


def test_accumulation_takes_the_memory_of_a_part():
    params = layers(jax.random.key(1))
    batch = {"x": jnp.zeros((4096, 32), jnp.float64)}

    def bytes_of(parts):
        found = jax.jit(functools.partial(value_and_grad, deep_loss, parts=parts))
        compiled = found.lower(params, batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert bytes_of(8) < 0.3 * bytes_of(1)


@pytest.mark.slow
def test_accumulation_takes_less_memory_in_the_step_of_ddpm():
    assert temporary(accumulate=8) < 0.5 * temporary()


def test_bfloat16_is_inside_of_the_network_and_nowhere_else():
    jaxpr, _, before, (after, scalars) = lowered(compute_dtype="bfloat16")
    for leaf in jax.tree.leaves((before, after, scalars)):
        assert leaf.dtype != jnp.bfloat16 and leaf.dtype != jnp.float16
    for name in ("params", "average"):
        kinds = {leaf.dtype for leaf in jax.tree.leaves(after[name])}
        assert kinds <= {jnp.dtype("float32"), jnp.dtype("int32")}
    everything = list(equations(jaxpr.jaxpr))
    convolutions = [e for e in everything if e.primitive.name.startswith("conv_gen")]
    assert len(convolutions) > 10
    for equation in convolutions:
        assert {v.aval.dtype for v in equation.invars} == {jnp.dtype("bfloat16")}
    plain, *_ = lowered()
    assert not any(
        v.aval.dtype == jnp.bfloat16
        for equation in equations(plain.jaxpr)
        for v in equation.outvars
        if hasattr(v.aval, "dtype")
    )


def test_the_loss_and_every_sum_on_the_way_to_it_are_float32():
    loss, params, x, t = forward(compute_dtype="bfloat16")
    traced = jax.jit(loss).trace(params, x, t)
    sums = [e for e in equations(traced.jaxpr.jaxpr) if e.primitive.name in SUMS]
    assert len(sums) > 10 and traced.out_info.dtype == jnp.float32
    assert {e.invars[0].aval.dtype for e in sums} == {jnp.dtype("float32")}


@pytest.mark.slow
def test_no_sum_of_the_compiled_step_adds_in_bfloat16():
    text = lowered(compute_dtype="bfloat16")[1].compile().as_text()
    sums = re.findall(r" = (\w+)\[[^\]]*\]\S* (?:reduce|reduce-window)\(", text)
    assert "f32" in sums and "bf16" not in sums


@pytest.mark.slow
def test_bfloat16_learns_what_float32_does():
    (state, losses), (wide, expected) = run(12, compute_dtype="bfloat16"), run(12)
    np.testing.assert_allclose(losses, expected, rtol=2e-2)
    assert not np.array_equal(losses, expected)
    assert 0 < apart(state["params"], wide["params"]) < 0.2


def test_recomputation_keeps_less_for_the_backward_pass():
    """XLA's CPU compiler undoes it, as it drops the barriers that keep it: here it is
    what JAX hands over that is counted.
    """
    plain, saving = (kept(blocks=3, recompute=r) for r in ("none", "blocks"))
    assert 0 < saving < 0.5 * plain


@pytest.mark.slow
def test_recomputation_changes_no_number():
    (state, losses), (plain, expected) = run(5, recompute="blocks"), run(5)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert apart(state["params"], plain["params"]) < 1e-5
