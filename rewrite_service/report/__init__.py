"""The evaluation as one page that a person reads."""
