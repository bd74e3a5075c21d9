"""What linear_rnn is made of: its networks, the pixels it reads, its claims."""
