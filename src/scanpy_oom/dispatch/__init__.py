"""Who runs a call: scanpy itself, or an override on data that stay on disk."""
