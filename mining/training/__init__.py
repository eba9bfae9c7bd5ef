"""Training of the model that marks rephrases. Needs torch (the extra `train`); nothing else in `mining` does."""
