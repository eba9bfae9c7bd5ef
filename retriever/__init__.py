"""Text to candidates: normalisation, phonetics, encoder, personal and global index."""
