"""The backend ``vllm-lens``: vLLM, steered through vllm-lens hooks.

Nothing is imported here: :mod:`.records` is read where vLLM isn't installed, and the workers load :mod:`.worker` alone.
"""
