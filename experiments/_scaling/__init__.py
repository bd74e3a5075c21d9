"""What a training step costs on many devices, from programs that are never run."""
