"""Candidates to a decision: features, LightGBM model, calibration, threshold, explanation."""
