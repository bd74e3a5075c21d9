"""Linear attention against softmax: what is claimed of it, and its tables."""
