"""What the diffusion experiments share: settings, network, training, sampling."""
