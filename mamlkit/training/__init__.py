"""Meta-training: the learner, the training loop, evaluation, and parallel processes."""
