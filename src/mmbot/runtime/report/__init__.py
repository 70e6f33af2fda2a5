"""
The post-mortem of a run, written by the program: exact, in seconds, from what the run left behind.

    facts (fromjournal, fromlog, gather)  one pass over journal and log into plain data
    split, measures, timeline, causes     what can be said of them; pure
    plots, pictures, tables, page         the same for a person
    report, write                         put together, and into files
"""
