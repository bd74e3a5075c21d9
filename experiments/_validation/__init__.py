"""The experiment adversarial_validation: shifts, scores, claims and pictures."""
