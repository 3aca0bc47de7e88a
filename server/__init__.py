"""The database server: which transformation gave which result, over HTTP, in one SQLite file.

From the outside in:

==================  ==================================================================
``__main__``        the command line
``settings``        what the command line asked for, checked
``service``         start, stop, signals, inactivity
``ownership``       one writable server per file
``status``          the status file
``app``             routes and what is around them: HTTP stands only here
``handlers``        one small handler for every request type that is published
``cache_handlers``  the same for types that are ours
``lease_handlers``  the same for leases
``registry``        what handlers are made of, and how they are found
``protocol``        checked access to the fields of a request
``batch``           the batch request: thousands of lookups or write-backs at once
``writing``         what a batch may bring, checked
``cutoffs``         the answer with many cutoffs, read in parts
``leases``          who computes what at this moment; in memory only
``database``        the open file: schema, connections
``lanes``           coalesced reads, group commit
``near``            single reads on the event loop
``tables``          SQL on the tables of the published server
``cache_tables``    SQL on our own tables: buffers, entries
``recipe_tables``   SQL on our own tables: recipes, notes
``cutoff_tables``   SQL on our own tables: cutoffs
``cost_tables``     SQL on our own tables: costs
``batch_tables``    SQL of batches, over all tables
``failures``        what can go wrong, and its HTTP status
==================  ==================================================================

SQL stands in ``schema.sql``, ``database``, ``lanes`` (transactions), ``tables`` and the modules
whose names end in ``_tables``, nowhere else.
"""
