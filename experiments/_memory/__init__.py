"""The parts of ``experiments.hippo_memory``: series, memories, claims, pictures."""
