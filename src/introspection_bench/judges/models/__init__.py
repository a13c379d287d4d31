"""Judges that ask a language model: over an API, in batches, or in this process; and what they share."""
