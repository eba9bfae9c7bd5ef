"""The report on failures: what fails, what was meant, what rewriting repairs of it, and what is left for whom."""
