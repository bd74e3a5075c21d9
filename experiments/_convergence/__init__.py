"""The parts of ``experiments.sgd_convergence``: problems, runs, claims, pictures."""
