"""A package, so that pytest puts the repository's root on the path and not this folder.

With this folder on the path its subfolders ``vllm`` and ``nnsight`` would pass for the installed packages.
"""
