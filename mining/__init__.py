"""Interaction log to evidence: reading, sessions, defects, rephrases, who-says-what tables."""
