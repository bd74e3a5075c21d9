"""Short trainings that differ in one thing, for ddpm_variance and ddpm_loss_scale."""
