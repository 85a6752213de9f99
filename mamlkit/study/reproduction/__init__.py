"""Tables of the paper as grids of runs; a cell is notebook 09 executed with its own parameters, or a short training.

    table         the parts of a table
    tables        the runs of each table, and their sizes
    atlas         the runs of the stability atlas
    plan          a table, a scale, a data set and seeds: the cells, and their folder on disk
    execution     execute a notebook in its own folder
    cell          one cell: notebook 09 executed by papermill, and its record
    training      one cell without a notebook
    estimate      the duration of a grid on this machine
    cluster       many cells with Dask, on this machine or on the user's cluster
    measurements  the results of the runs as one tidy table
    summary       means, intervals, effects, and the number of diverged runs
    figures       figures of the table
    shown         texts, tables and figures in the form of a notebook
    views         the sections of the report
    atlas_*       summaries, figures and tables of the atlas
    report        the report, as a notebook and as one HTML file

To add a table, write its settings in ``tables`` and list it in ``TABLES``; the command line and the report follow.
"""
