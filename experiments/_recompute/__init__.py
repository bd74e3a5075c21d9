"""What recompute is made of: its network, what is measured, its claims, its figures."""
