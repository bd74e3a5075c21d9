"""Diffusion on data whose perfect predictor is known: what ddpm_oracle measures."""
