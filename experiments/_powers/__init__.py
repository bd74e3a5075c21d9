"""The experiment ``powers``: ways to compare n^(n+1) and (n+1)^n, and their ends."""
