"""What an operator tells a running server: which bundle to serve, which rewrites to block and to pin."""
