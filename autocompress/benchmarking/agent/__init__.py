"""The agent of a device: it receives models and token ids, runs the models and returns logits and timings.

The agent needs numpy, a runtime and a small ASGI server, no torch and no transformers. No text reaches it: it receives
token ids, and only the host knows what they mean.
"""
