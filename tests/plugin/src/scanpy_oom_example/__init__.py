"""A storage format and an override for scanpy-oom."""
