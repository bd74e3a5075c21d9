"""Small causal and masked models of bytes: settings, training, judgment."""
