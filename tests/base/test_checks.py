"""The argument checks name the function, the argument, what came, what was wanted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kexue_jax._base import checks


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape)


def test_letters_bind_across_arguments() -> None:
    letters = checks.shapes(
        "f", q=(zeros(8, 5, 3), "... n d"), v=(zeros(8, 5, 2), "... n m")
    )
    assert letters == {"...": (8,), "n": 5, "d": 3, "m": 2}


def test_prefix_pattern_takes_any_number_of_trailing_axes() -> None:
    pattern = {"t": (zeros(2, 3), "..."), "x": (zeros(2, 3, 4, 5), "... *d")}
    assert checks.shapes("f", **pattern) == {"...": (2, 3), "*d": (4, 5)}
    pattern = {"t": (3.0, "..."), "x": (zeros(4), "... *d")}
    assert checks.shapes("f", **pattern) == {"...": (), "*d": (4,)}


def test_free_axes_may_stand_before_bound_ones() -> None:
    pattern = {"a": (zeros(4, 5), "*d"), "b": (zeros(2, 4, 5), "... *d")}
    assert checks.shapes("f", **pattern) == {"*d": (4, 5), "...": (2,)}


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        ("n", (2, 3)),
        ("n d", (2,)),
        ("n n", (2, 3)),
        ("3 d", (2, 2)),
        ("... n d", (2,)),
        ("... *d", (2, 3)),
        ("n _", (2, 3, 4)),
    ],
)
def test_misfit_is_refused(pattern: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"f: `x` must be of shape .*, got shape"):
        checks.shapes("f", x=(zeros(*shape), pattern))


def test_message_says_what_was_bound() -> None:
    with pytest.raises(ValueError) as caught:
        checks.shapes("f", q=(zeros(8, 5, 3), "... n d"), k=(zeros(8, 4, 3), "... n d"))
    wanted = "of shape [..., n, d] with ... = [8], n = 5, d = 3"
    assert str(caught.value) == f"f: `k` must be {wanted}, got shape (8, 4, 3)."


def test_optional_arguments_are_skipped() -> None:
    assert checks.shapes("f", x=(None, "n"), y=(zeros(2), "n")) == {"n": 2}
    checks.same_dtype("f", x=jnp.zeros(1, jnp.float32), y=None)


def test_checks_work_at_trace_time() -> None:
    def function(x: jax.Array) -> jax.Array:
        checks.array("f", "x", x)
        checks.shapes("f", x=(x, "n n"))
        return x

    jax.jit(function)(jnp.zeros((2, 2)))
    with pytest.raises(ValueError, match="`x`"):
        jax.jit(function)(jnp.zeros((2, 3)))
    with pytest.raises(TypeError, match="`x` must be an array of floating dtype"):
        jax.jit(function)(jnp.zeros((2, 2), jnp.int32))


@pytest.mark.parametrize("value", [None, [1.0], "text", 1.0, object()])
def test_array_refuses_what_is_no_array(value: object) -> None:
    with pytest.raises(TypeError, match=r"f: `x` must be a jax or NumPy array, got a"):
        checks.array("f", "x", value)


@pytest.mark.parametrize("value", [None, "1", True, 1j, [1.0], zeros(1)])
def test_number_refuses_other_types(value: object) -> None:
    with pytest.raises(TypeError, match=r"f: `a` must be a number"):
        checks.number("f", "a", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.0])
def test_number_refuses_other_values(value: float) -> None:
    with pytest.raises(ValueError, match=r"f: `a` must be a finite number in \[0, 1\)"):
        checks.number("f", "a", value, minimum=0, maximum=1, open_maximum=True)


def test_traced_number_is_checked_for_shape_and_dtype() -> None:
    jax.jit(lambda a: checks.number("f", "a", a, traced=True))(0.5)
    with pytest.raises(ValueError, match="a floating-point scalar"):
        checks.number("f", "a", jnp.zeros(2), traced=True)
    with pytest.raises(TypeError, match="a number"):
        checks.number("f", "a", jnp.zeros(()))


@pytest.mark.parametrize("value", [None, 1.0, True, "3", jnp.ones((), jnp.int32)])
def test_count_takes_python_integers_only(value: object) -> None:
    with pytest.raises(TypeError, match=r"f: `n` must be a Python integer"):
        checks.count("f", "n", value)


def test_count_has_a_least_value() -> None:
    checks.count("f", "n", np.int64(1))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        checks.count("f", "n", 0)


def test_choice_lists_the_options() -> None:
    checks.choice("f", "kind", "a", ("a", "b"))
    with pytest.raises(ValueError, match=r"f: `kind` must be one of 'a', 'b', got 'c'"):
        checks.choice("f", "kind", "c", ("a", "b"))
    with pytest.raises(TypeError, match="got a NoneType"):
        checks.choice("f", "kind", None, ("a", "b"))


def test_key_must_be_typed_and_single() -> None:
    checks.key("f", "key", jax.random.key(0))
    for wrong in (None, 0, np.zeros(2, np.uint32), jnp.zeros(2, jnp.uint32)):
        with pytest.raises(TypeError, match=r"a typed key made by jax\.random\.key"):
            checks.key("f", "key", wrong)
    with pytest.raises(ValueError, match=r"one key, of shape \(\)"):
        checks.key("f", "key", jax.random.split(jax.random.key(0)))


def test_same_dtype_names_both_arguments() -> None:
    with pytest.raises(TypeError, match="`y` must be of dtype float32 as `x` is"):
        checks.same_dtype("f", x=jnp.zeros(1, jnp.float32), y=jnp.zeros(1, jnp.int32))


def test_concrete_refuses_traced_arrays() -> None:
    with pytest.raises(TypeError, match="known at trace time, got a traced array"):
        jax.jit(lambda t: checks.concrete("f", "taus", t, "integer"))(jnp.arange(3))
    assert checks.concrete("f", "taus", [1, 2], "integer").tolist() == [1, 2]
    with pytest.raises(TypeError, match="`taus` must be integer numbers"):
        checks.concrete("f", "taus", [0.5], "integer")


@pytest.mark.parametrize("value", [None, "text", "int32", 3])
def test_float_dtype_refuses_others(value: object) -> None:
    with pytest.raises(TypeError, match="a floating dtype"):
        checks.float_dtype("f", "dtype", value)
    checks.float_dtype("f", "dtype", jnp.bfloat16)


def test_flag_and_function() -> None:
    checks.flag("f", "on", True)
    checks.function("f", "g", len)
    with pytest.raises(TypeError, match="`on` must be a bool"):
        checks.flag("f", "on", 1)
    with pytest.raises(TypeError, match="`g` must be a callable"):
        checks.function("f", "g", 1)
