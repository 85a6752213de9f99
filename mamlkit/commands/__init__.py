"""The commands of ``mamlkit``, one module each; each hands out a click command called ``command``."""
