"""The parts of ``experiments.gradient_penalty``: networks, trainings, flows, claims."""
