"""Elementary functions: polynomials in place of the exponential."""

__all__: list[str] = []
