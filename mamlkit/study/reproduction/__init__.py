"""Tables of the paper as grids of runs: each cell is notebook 09 executed with its own parameters.

    tables        which runs make a table, and how large they are
    plan          a table, a scale, a data set and seeds: the cells, and their folder on disk
    execution     a notebook, executed in its own folder
    cell          one cell: notebook 09 by papermill, and the record that it leaves
    cluster       many cells by Dask, on this machine or on the user's cluster
    measurements  what the runs measured, as one tidy table
    summary       means, intervals, effects, and how many runs diverged
    figures       pictures of the table
    shown         texts, tables and pictures as a notebook shows them
    views         what the report says
    report        the report, as a notebook and as one HTML file

To add a table: write its settings in ``tables`` and list it in ``TABLES``; the command line and the report follow.
"""
