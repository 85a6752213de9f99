"""Meta-training: the learner, the loop over epochs, evaluation, several processes."""
