"""Asking a sampler for samples: over gRPC, over REST, or in this process."""
