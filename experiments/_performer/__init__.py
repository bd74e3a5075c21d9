"""How well random features stand in for softmax attention."""
