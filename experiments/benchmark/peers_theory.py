"""An LSTM and a tangent kernel of PyTorch as peers."""

from typing import Any

from experiments._harness.extras import need


def torch_lstm(w: Any, u: Any, b: Any, xs: Any) -> Any:
    """The outputs [rows, n, d] of PyTorch's own kernel; gates here are f, i, o, c^."""
    torch = need("torch", "bench")

    d = u.shape[0]
    zero = xs.new_zeros((1, len(xs), d))

    def ordered(matrix: Any) -> Any:
        f, i, o, c = (matrix[..., k * d : (k + 1) * d] for k in range(4))
        return (
            torch.cat([i, f, c, o], -1).mT
            if matrix.ndim > 1
            else torch.cat([i, f, c, o], -1)
        )

    weights = [ordered(w), ordered(u), ordered(b), torch.zeros_like(b)]
    options = (True, 1, 0.0, False, False, True)
    return torch.lstm(xs, (zero, zero), weights, *options)[0]


def torch_tangent_kernel(*inputs: Any) -> Any:
    """Jacobians by torch.func, contracted leaf by leaf: [a, b]."""
    torch = need("torch", "bench")

    *leaves, xa, xb = inputs

    def network(leaves: Any, x: Any) -> Any:
        for number in range(0, len(leaves), 2):
            x = x @ leaves[number] + leaves[number + 1]
            x = x if number == len(leaves) - 2 else torch.tanh(x)
        return x[0]

    rows = torch.func.vmap(torch.func.grad(network), (None, 0))
    a, b = rows(tuple(leaves), xa), rows(tuple(leaves), xb)
    parts = [p.flatten(1) @ q.flatten(1).mT for p, q in zip(a, b, strict=True)]
    return sum(parts[1:], parts[0])
