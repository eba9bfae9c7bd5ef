"""Another bundle for a running server: which one is wanted, tried out, made ready, and put to work."""
