"""The parts of ``experiments.length_generalization``: tasks, rules, claims."""
