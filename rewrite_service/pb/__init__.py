"""Generated from proto/rewrite/v1/rewrite.proto by `python -m rewrite_service.pb.generate`; not edited by hand."""
