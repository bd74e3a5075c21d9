"""Rules of positions beyond the trained length, and what they are worth."""
