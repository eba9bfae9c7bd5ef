"""Interaction log to evidence: reading, sessions, defects, rephrases, chains, who-says-what tables."""
