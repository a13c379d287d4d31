"""A model under an injection, behind the interfaces of other evaluation harnesses."""
