"""No solution, inverse, QR or Cholesky factor by LAPACK: see ``_base.elimination``."""

import re

from tests.house.public import relative, sources

WAITING = re.compile(
    r"\b(jnp|jax\.numpy|lax)\.linalg\.(solve|inv|qr|cholesky)\b|jax\.scipy\.linalg"
)


def test_no_batch_of_lapack_calls_can_wait_for_another() -> None:
    texts = {relative(path): path.read_text() for path in sources("kexue_jax")}
    assert not [name for name, text in texts.items() if WAITING.search(text)]


def test_the_words_are_found() -> None:
    for line in ("x = jnp.linalg.solve(a, b)", "from jax.scipy.linalg import expm"):
        assert WAITING.search(line)
