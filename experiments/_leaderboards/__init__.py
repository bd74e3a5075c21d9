"""The experiment leaderboard_means: its claims, tables and pictures."""
