"""The service: pipeline, bundle, stores, gRPC, command line."""
