"""The commands of efficientps_d2: flags here, work there.

A package of its own, because importing ``efficientps_d2`` loads PyTorch, which takes seconds. The
modules of the verbs import it when they run, not when they print their help.
"""
