"""The parts of ``gan_gradient_norm``: players, training, measures, claims."""
