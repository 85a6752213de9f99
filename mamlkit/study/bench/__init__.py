"""How fast the engines are: what ``mamlkit bench`` measures.

- ``workloads``: the five meta-iterations that are timed.
- ``iteration``, ``worker``: one of them by one engine, in this process or in a fresh one.
- ``timing``: several in turns. ``peak``: what convolutions alone reach here. ``records``: both together.
- ``load``: what other programs cost.
- ``growth``: time and memory over inner steps and over tasks. ``breakdown``: where an iteration's time goes.
- ``ui``: what a reader waits for. ``browser``, ``stage``, ``gestures``: where it is measured, and how.
"""
