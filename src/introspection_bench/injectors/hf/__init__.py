"""What is known of Hugging Face checkpoints and models, whoever runs them: loading, blocks, identity, sampling."""
