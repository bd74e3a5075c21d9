"""What rnn_gradients is made of: cells, tasks, trainings, claims, figures."""
