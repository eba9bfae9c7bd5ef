"""The service's methods as JSON over HTTP/1.1, for callers without gRPC: `door` answers, `listener` listens."""
