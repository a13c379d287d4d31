"""Training of models of known truth: LoRA adapters that report an injected concept, or only seem to. See README.md."""
