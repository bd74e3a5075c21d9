"""Windows of attention: masks, and which layer of a model has which window."""

import math

import jax
import jax.numpy as jnp

from kexue_jax._base import checks


def window_mask(positions: jax.Array, *, window: int, causal: bool = True) -> jax.Array:
    """Which keys a window keeps for each query.

    0 <= i - j < window, or |i - j| < window with causal=False.

    Shapes: positions integers [..., n] -> [..., n, n] boolean, True = keep.
    Article: kexue.fm/archives/9431.  Paper: arXiv 2212.10356.
    Differs: no. With window = the training length this is the article's super
    baseline of length extrapolation; large language models need ``lambda_mask``.
    Cost: O(n^2) memory; ``blockwise_attention(band=(0, window - 1))`` needs no mask.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import window_mask
        >>> window_mask(jnp.arange(4), window=2).astype(int)[3].tolist()
        [0, 0, 1, 1]
    """
    delta = _delta("window_mask", positions, window, causal)
    low = 0 if causal else -window + 1
    return (delta >= low) & (delta < window)


def lambda_mask(
    positions: jax.Array, *, window: int, sinks: int, causal: bool = True
) -> jax.Array:
    """Which keys a window and the first tokens keep for each query.

    i - j < window or j < sinks, and i >= j; |i - j| with causal=False.

    Shapes: positions integers [..., n] -> [..., n, n] boolean, True = keep.
    Article: kexue.fm/archives/9948.  Paper: arXiv 2308.16137, 2309.17453.
    Differs: no. The first tokens are those of position below ``sinks``, so that left
    padding must have negative positions.
    Cost: O(n^2) memory.
    Raises: TypeError or ValueError for bad arguments.
    Example:
        >>> import jax.numpy as jnp
        >>> from kexue_jax.positions import lambda_mask
        >>> lambda_mask(jnp.arange(5), window=2, sinks=1).astype(int)[4].tolist()
        [1, 0, 0, 1, 1]
    """
    delta = _delta("lambda_mask", positions, window, causal)
    checks.count("lambda_mask", "sinks", sinks, minimum=0)
    first = (jnp.asarray(positions) >= 0) & (jnp.asarray(positions) < sinks)
    near = delta < window if causal else jnp.abs(delta) < window
    kept = near | first[..., None, :]
    return kept & (delta >= 0) if causal else kept


def hwfa_layer_windows(
    num_layers: int, train_length: int, *, alpha: float = 0.75
) -> tuple[int | None, ...]:
    """The window of each layer of HWFA; None is full attention, in the last layer.

    The widest w with (w - 1) (num_layers - 1) + 1 <= alpha train_length: what the last
    layer sees of the windows below it stays within the training length.

    Shapes: -> num_layers windows.
    Article: kexue.fm/archives/9603.  Paper: none.
    Differs: no. Layers with a window have rotary positions, the last one none and the
    log-n factor. Above alpha 3/4 the article found no extrapolation.
    Cost: none.
    Raises: TypeError or ValueError for bad arguments, or fewer than 2 layers.
    Example:
        >>> from kexue_jax.positions import hwfa_layer_windows
        >>> hwfa_layer_windows(4, 512, alpha=0.676)
        (116, 116, 116, None)
    """
    name = "hwfa_layer_windows"
    checks.count(name, "num_layers", num_layers, minimum=2)
    checks.count(name, "train_length", train_length)
    checks.number(name, "alpha", alpha, minimum=0, maximum=1, open_minimum=True)
    # A rounding error in alpha train_length must not cost a window's last key.
    reach = math.floor(alpha * train_length + 1e-9)
    window = max(0, reach - 1) // (num_layers - 1) + 1
    return (window,) * (num_layers - 1) + (None,)


def hwfa2_layer_windows(
    num_layers: int, train_length: int, *, full_layers: int = 1, share: float = 3.0
) -> tuple[int | None, ...]:
    """The window of each layer of HWFA2; None is full attention, in the middle.

    Layers num_layers // 2 (one full layer), or f num_layers // (full_layers + 1) for f
    = 1 .. full_layers, are full; the others have the window share train_length /
    num_layers, share 2 to 4 in the article.

    Shapes: -> num_layers windows.
    Article: kexue.fm/archives/9731.  Paper: none.
    Differs: no. All layers have rotary positions; the full ones take ReRoPE when tested
    beyond the training length.
    Cost: none.
    Raises: TypeError or ValueError for bad arguments, or no layer left for a window.
    Example:
        >>> from kexue_jax.positions import hwfa2_layer_windows
        >>> hwfa2_layer_windows(6, 96, full_layers=2)
        (48, 48, None, 48, None, 48)
    """
    name = "hwfa2_layer_windows"
    checks.count(name, "num_layers", num_layers, minimum=2)
    checks.count(name, "train_length", train_length)
    checks.count(name, "full_layers", full_layers)
    checks.number(name, "share", share, minimum=0, open_minimum=True)
    if full_layers >= num_layers:
        wanted = f"below num_layers = {num_layers}"
        raise checks.fail(name, "full_layers", full_layers, wanted)
    full = {f * num_layers // (full_layers + 1) for f in range(1, full_layers + 1)}
    window = max(1, round(share * train_length / num_layers))
    return tuple(None if layer in full else window for layer in range(num_layers))


def _delta(function: str, positions: object, window: int, causal: bool) -> jax.Array:
    """Query position - key position ``[..., n, n]``, after the checks."""
    checks.array(function, "positions", positions, "integer")
    checks.shapes(function, positions=(positions, "... n"))
    checks.count(function, "window", window)
    checks.flag(function, "causal", causal)
    values = jnp.asarray(positions).astype(jnp.int32)
    return values[..., :, None] - values[..., None, :]
