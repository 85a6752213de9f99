"""The measurements of ``mamlkit bench``.

- ``workloads``: the five meta-iterations that are timed.
- ``iteration``, ``worker``: run one of them with one engine, in this process or in a fresh one.
- ``timing``: time several engines in turns. ``peak``: the speed of convolutions alone. ``records``: both combined.
- ``load``: the cost of other programs on the machine.
- ``growth``: time and memory against inner steps and tasks. ``breakdown``: the parts of an iteration's time.
- ``ui``: the waits of a reader. ``browser``, ``servers``, ``stage``, ``gestures``: its set-up and its actions.
"""
