"""The parts of ``experiments.vae_density``: bits, trainings, densities, claims."""
