"""The benchmark: a table of cases, each measured in one interleaved run.

A case is a row in a ``cases_<topic>.py``, in that file's ``CASES``::

    Case(
        "diffusion.q_sample",
        inputs=lambda seed: (schedule, x0, t, noise),
        fast=diffusion.q_sample,
        twin=plain_q_sample,
        gradient=(1, 3),
        peers=(Peer("diffusers", add_noise),),
        goal=0.9,
    )

``fast`` and ``twin`` are pure functions of the inputs, which the runner compiles;
what is stateful or placed on devices comes as ``Prepared(build)``. A peer is another
library's way; it is imported only where it is installed. A case whose forms disagree
in value, gradient, or work is red: it reports no time.
"""
