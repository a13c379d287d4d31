"""Models whose truth is known: adapters for the demo's model, and a card for each."""
