"""What path_kernel is made of: perceptrons, what is measured, claims, figures."""
