"""Floor 0: argument checks, accumulation dtypes, masks, keys, trees. No mathematics."""
