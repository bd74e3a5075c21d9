"""Tiny cases: agreeing, disagreeing, with peers that are there and that are not."""

import jax.numpy as jnp
import numpy as np

from experiments.benchmark.case import Case, Form, Peer, Prepared


def inputs(seed):
    return (jnp.asarray(np.random.default_rng(seed).standard_normal(8), jnp.float32),)


def square(x):
    return x * x


def power(x):
    return x**2


def case(name="toy.square", fast=square, twin=power, peers=(), **values):
    return Case(name, inputs, fast, twin, tuple(peers), **values)


def numpy_square(x):
    data = np.asarray(x)
    return Form(lambda: data * data, data * data)


def working(build, **values):
    """A peer that is installed wherever the tests run."""
    return Peer("numpy", build, **values)


MISSING = Peer("no-such-package", numpy_square)


def with_work(function, **work):
    """A prepared form that claims to do this work."""

    def build(x):
        value = np.asarray(function(x))
        return Form(lambda: np.asarray(function(x)), value, work=work)

    return Prepared(build)
