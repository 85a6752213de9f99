"""What a Dask worker imports as it starts, to ignore Ctrl-C: a terminal sends it to all processes."""

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
