"""Files on disk: GGUF headers and identities, importance matrices, llama-perplexity's base files, the cache."""
