"""The commands of ``mamlkit``; each module provides a click command called ``command``."""
