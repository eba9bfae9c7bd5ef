"""Training and exporting the encoder. The only package that needs torch (extra `train`); serving imports none of it."""
