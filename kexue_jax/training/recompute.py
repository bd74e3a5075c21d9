"""Which activations the backward pass keeps and which it computes again.

``jax.checkpoint`` is the primitive. Here are the policies by name, checked against
typing errors, and stacks of equal layers as one loop with the places to recompute from.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax import lax

from kexue_jax._base import checks
from kexue_jax.training.plan import segment_lengths

Policy = str | Callable[..., Any]

PLAIN = ("nothing", "everything", "dots", "dots_no_batch", "offload_dots")
NAMED = ("names", "not_names", "other_names", "offload_names")


def remat(
    fn: Callable[..., Any],
    *,
    policy: Policy = "nothing",
    prevent_cse: bool = True,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
    enabled: bool = True,
) -> Callable[..., Any]:
    """``fn`` whose backward pass computes again what ``policy`` does not keep.

    remat(fn)(*args) = fn(*args), and its derivatives are those of fn. Between forward
    and backward pass stand the arguments and what the policy names: "nothing";
    "everything"; "dots", the results of matrix products; "dots_no_batch", those
    without batch axes; "names:a,b", what ``jax.ad_checkpoint.checkpoint_name`` gave the
    names a and b; "not_names:a,b", all but those; "other_names:a,b", what has a name
    other than those; "offload_dots" and "offload_names:a,b", the same moved to the
    memory of the host; several joined by "+"; or a function as in
    ``jax.checkpoint_policies``. With ``enabled`` False it is ``fn`` itself.

    Shapes: those of fn.
    Article: kexue.fm/archives/7367.  Paper: arXiv 1604.06174.
    Differs: the article switches by an environment variable read at import, here it is
    an argument. From ``jax.checkpoint``, a name that nothing in fn has is refused
    (there it silently keeps nothing), and static arguments may be named. fn must be
    pure: a module with running statistics would update them twice, and is for
    ``flax.linen.remat``. With a large vocabulary put logits and loss in too.
    Cost: at most one more run of fn in the backward pass. ``prevent_cse`` keeps XLA
    from undoing it; in the body of a ``lax.scan`` False is enough and cheaper.
    Raises: TypeError or ValueError for a bad argument; ValueError from the call where
    fn gives no value one of the names.
    Example:
        >>> import jax, jax.numpy as jnp
        >>> from kexue_jax.training import memory_report, remat
        >>> def layer(x):
        ...     return jnp.sin(jnp.cos(jnp.exp(x))).sum()
        >>> x = jax.ShapeDtypeStruct((1000,), jnp.float32)
        >>> [memory_report(f, (x,)).residual_bytes for f in (layer, remat(layer))]
        [12000, 0]
    """
    checks.function("remat", "fn", fn)
    checks.flag("remat", "prevent_cse", prevent_cse)
    checks.flag("remat", "enabled", enabled)
    rule, names = _policy("remat", "policy", policy)
    places = _static_places(fn, static_argnums, static_argnames)
    if not enabled:
        return fn

    saving = functools.partial(jax.checkpoint, policy=rule, prevent_cse=prevent_cse)
    plain = saving(fn)

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        kept = {i % len(args) for i in places[0] if -len(args) <= i < len(args)}
        fixed = {k: v for k, v in kwargs.items() if k in places[1]}
        moving = {k: v for k, v in kwargs.items() if k not in places[1]}

        def inner(*dynamic: Any, **more: Any) -> Any:
            rest = iter(dynamic)
            full = [a if i in kept else next(rest) for i, a in enumerate(args)]
            return fn(*full, **more, **fixed)

        dynamic = [a for i, a in enumerate(args) if i not in kept]
        if names:
            _check_names(names, jax.make_jaxpr(inner)(*dynamic, **moving))
        if not kept and not fixed:
            return plain(*args, **kwargs)
        return saving(inner)(*dynamic, **moving)

    return run


def scan_layers(
    block: Callable[[Any, Any], Any],
    stacked_params: Any,
    x: Any,
    *,
    remat_policy: Policy | None = None,
    segment: int | Sequence[int] | None = None,
    nested: bool = False,
    unroll: int = 1,
) -> Any:
    """``x`` after a stack of equal layers, as one loop that recomputes from places.

    x = block(x, params_l) for l = 0, ..., L-1, params_l the entries l of
    ``stacked_params``. Without ``remat_policy`` and ``segment`` all is kept. With
    ``remat_policy`` each layer keeps its input and what the policy says. With
    ``segment`` = s only the input of every s-th layer is kept and s layers are run
    again at a time; ``nested`` runs each of those layers from its own input once more,
    under the policy (default "nothing"). Several lengths, from the outermost in, give
    segments of segments: L/2, L/4, ..., 2 needs memory of O(log L).

    Shapes: leaves of stacked_params [L, ...]; x a tree of arrays -> the same, which
    ``block`` must keep in shape and dtype. What differs between layers (keys of
    dropout, say) goes among stacked_params.
    Article: kexue.fm/archives/7367.  Paper: arXiv 1604.06174.
    Differs: a last segment may be shorter. A policy reaches layers, not loops, so that
    ``remat_policy`` beside ``segment`` asks for ``nested``.
    Cost: with a bytes of activations and b of input a layer, L a for nothing, L b + a
    by layers, L b / s + s a by segments, (L / s + s) b + a nested, beside the slices of
    parameters of a segment; see ``recompute_cost``.
    Raises: TypeError or ValueError for a bad argument; ValueError where leaves differ
    in L or ``block`` changes shape, dtype or structure.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.training import scan_layers
        >>> params = jnp.array([[1.0], [2.0], [3.0]])
        >>> print(scan_layers(lambda x, p: x * p, params, jnp.ones(1), segment=2))
        [6.]
    """
    name = "scan_layers"
    checks.function(name, "block", block)
    checks.flag(name, "nested", nested)
    checks.count(name, "unroll", unroll)
    lengths = segment_lengths(name, segment)
    if nested and not lengths:
        raise checks.fail(name, "nested", "True", "False without `segment`")
    if remat_policy is not None:
        _policy(name, "remat_policy", remat_policy)
        if lengths and not nested:
            wanted = "None beside `segment`, unless `nested`"
            raise checks.fail(name, "remat_policy", repr(remat_policy), wanted)
    count = _layers(name, "stacked_params", stacked_params)
    _check_block(name, block, stacked_params, x)
    if remat_policy is not None or nested:
        chosen = "nothing" if remat_policy is None else remat_policy
        block = remat(block, policy=chosen, prevent_cse=False)
    return _scan(block, stacked_params, x, count, lengths, unroll)


def _scan(
    block: Callable[[Any, Any], Any],
    params: Any,
    x: Any,
    count: int,
    lengths: tuple[int, ...],
    unroll: int,
) -> Any:
    """The loop over layers, in segments of the first of ``lengths``, and so on."""
    if not lengths:

        def step(carry: Any, layer: Any) -> tuple[Any, None]:
            return block(carry, layer), None

        return lax.scan(step, x, params, unroll=unroll)[0]
    size, *inner = lengths
    size = min(size, count)

    def segment(length: int) -> Callable[[Any, Any], Any]:
        def run(carry: Any, part: Any) -> Any:
            return _scan(block, part, carry, length, tuple(inner), unroll)

        return jax.checkpoint(run, prevent_cse=False)

    whole = count // size * size
    cut = jax.tree.map(
        lambda leaf: leaf[:whole].reshape(-1, size, *leaf.shape[1:]), params
    )
    x = _scan(segment(size), cut, x, count // size, (), 1)
    if whole == count:
        return x
    rest = jax.tree.map(lambda leaf: leaf[whole:], params)
    return segment(count - whole)(x, rest)


def _check_block(name: str, block: Any, params: Any, x: Any) -> None:
    """Refuse a block whose result is not like its input."""
    first = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params
    )
    for leaf in jax.tree.leaves(x):
        if not checks.is_array(leaf):
            got = f"one with a {type(leaf).__name__}"
            raise checks.fail_type(name, "x", got, "a tree of arrays")
    if not jax.tree.leaves(x):
        raise checks.fail_type(name, "x", f"a {type(x).__name__}", "a tree of arrays")
    before = jax.eval_shape(lambda value: value, x)
    after = jax.eval_shape(block, x, first)
    same = jax.tree.structure(before) == jax.tree.structure(after) and all(
        (a.shape, a.dtype) == (b.shape, b.dtype)
        for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    )
    if not same:
        wanted = f"a function that returns the like of `x`, {before}"
        raise checks.fail(name, "block", f"one that returns {after}", wanted)


def _layers(name: str, argument: str, stacked: Any) -> int:
    """The common length of the first axes of all leaves."""
    counts = set()
    for leaf in jax.tree.leaves(stacked):
        if not checks.is_array(leaf):
            got = f"one with a {type(leaf).__name__}"
            raise checks.fail_type(name, argument, got, "a tree of arrays")
        if leaf.ndim == 0:
            raise checks.fail(
                name, argument, "a leaf of shape ()", "of shapes [L, ...]"
            )
        counts.add(leaf.shape[0])
    if len(counts) != 1 or 0 in counts:
        got = f"leaves of {sorted(counts)} layers"
        raise checks.fail(
            name, argument, got, "a tree whose leaves have the same L > 0"
        )
    return counts.pop()


def _static_places(fn: Any, numbers: Any, words: Any) -> tuple[set[int], set[str]]:
    """Places and names of the static arguments, each known in both ways."""
    numbers = (numbers,) if isinstance(numbers, int) else numbers
    words = (words,) if isinstance(words, str) else words
    for argument, values, kind in (
        ("static_argnums", numbers, int),
        ("static_argnames", words, str),
    ):
        if not isinstance(values, (tuple, list)) or any(
            isinstance(v, bool) or not isinstance(v, kind) for v in values
        ):
            wanted = f"a tuple of {kind.__name__}"
            raise checks.fail_type("remat", argument, repr(values), wanted)
    try:
        known = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        known = []
    names = [p.name for p in known]
    free = any(p.kind is p.VAR_KEYWORD for p in known) or not known
    for word in words:
        if word not in names and not free:
            wanted = f"names of arguments of fn, {names}"
            raise checks.fail("remat", "static_argnames", repr(word), wanted)
    places = {*numbers, *(names.index(word) for word in words if word in names)}
    return places, {*words, *(names[n] for n in numbers if 0 <= n < len(names))}


def _policy(name: str, argument: str, policy: Any) -> tuple[Any, tuple[str, ...]]:
    """The function of ``jax.checkpoint_policies`` meant, and the names it asks for."""
    if callable(policy):
        return policy, ()
    if not isinstance(policy, str):
        got = f"a {type(policy).__name__}"
        raise checks.fail_type(name, argument, got, "a string or a function")
    rules, asked = [], []
    for part in policy.split("+"):
        kind, colon, text = part.partition(":")
        names = tuple(word.strip() for word in text.split(",")) if colon else ()
        if kind not in (NAMED if colon else PLAIN) or (colon and not all(names)):
            choices = ", ".join((*PLAIN, *(f"{kind}:..." for kind in NAMED)))
            raise checks.fail(name, argument, repr(policy), f"one of {choices}")
        if "+" in policy and kind.startswith("offload"):
            raise checks.fail(
                name, argument, repr(policy), "without + where it offloads"
            )
        rules.append(_rule(kind, names))
        asked += names
    found = rules[0]
    for rule in rules[1:]:
        found = jax.checkpoint_policies.save_from_both_policies(found, rule)
    return found, tuple(asked)


def _rule(kind: str, names: tuple[str, ...]) -> Any:
    there = jax.checkpoint_policies
    host = {"offload_src": "device", "offload_dst": "pinned_host"}
    made: dict[str, Callable[[], Any]] = {
        "nothing": lambda: there.nothing_saveable,
        "everything": lambda: there.everything_saveable,
        "dots": lambda: there.dots_saveable,
        "dots_no_batch": lambda: there.dots_with_no_batch_dims_saveable,
        "offload_dots": lambda: there.offload_dot_with_no_batch_dims(*host.values()),
        "names": lambda: there.save_only_these_names(*names),
        "not_names": lambda: there.save_anything_except_these_names(*names),
        "other_names": lambda: there.save_any_names_but_these(*names),
        "offload_names": lambda: there.save_and_offload_only_these_names(
            names_which_can_be_saved=[],
            names_which_can_be_offloaded=list(names),
            **host,
        ),
    }
    return made[kind]()


def _check_names(names: tuple[str, ...], closed: Any) -> None:
    known = set(_value_names(closed.jaxpr))
    for name in names:
        if name not in known:
            wanted = f"of names that fn gives to a value, {sorted(known)}"
            raise checks.fail("remat", "policy", f"{name!r}", wanted)


def _value_names(jaxpr: Any) -> Iterator[str]:
    """The names that ``checkpoint_name`` gave to values, inner programs included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "name":
            yield equation.params["name"]
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _value_names(inner)
