"""A device that is measured from afar: it takes models, runs them on token ids it is sent, and says how long that took.

The agent needs numpy, a runtime and a small ASGI server, no torch and no transformers. It keeps no user's text: token ids
come, logits and timings go, and what they mean is the host's business.
"""
