"""The database server: which transformation gave which result, over HTTP, in one SQLite file.

From the outside in:

==================  ==================================================================
``__main__``        the command line
``settings``        what the command line asked for, checked
``service``         start, stop, signals, inactivity
``ownership``       one writable server per file
``status``          the status file
``app``             routes and middlewares: HTTP stands only here
``handlers``        one small handler for every request type
``protocol``        checked access to the fields of a request
``batch``           the batch request: thousands of lookups or write-backs at once
``writing``         what a batch may bring, checked
``database``        the open file: schema, connections
``lanes``           coalesced reads, group commit
``tables``          SQL on the tables of the published server
``cache_tables``    SQL on our own tables: buffers, entries
``recipe_tables``   SQL on our own tables: recipes, notes
``batch_tables``    SQL of batches, over all tables
``failures``        what can go wrong, and its HTTP status
==================  ==================================================================

SQL stands in ``schema.sql``, ``database``, ``lanes`` (transactions), ``tables`` and the modules
whose names end in ``_tables``, nowhere else.
"""
