"""The backend ``vllm``: steering inside vLLM's compiled and captured graphs.

Nothing is imported here: workers load :mod:`.worker` alone, and what is said between them and the injector
(:mod:`.wire`) needs no vLLM.
"""
