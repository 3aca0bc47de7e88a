"""The database server: which transformation gave which result, over HTTP, in one SQLite file.

From the outside in:

==================  ==================================================================
``__main__``        the command line
``settings``        what the command line asked for, checked
``service``         start, stop, signals, inactivity
``ownership``       one writable server per file
``status``          the status file
``logs``            lines for people, or JSON
``app``             which path takes what
``front``           where every request comes in: counted, let pass, failures made responses
``answers``         short answers, written in one piece
``access``          who may do what
``connections``     connections that slow clients cannot keep
``bodies``          bodies within their limits of size and time
``buffer_routes``   buffers over HTTP
``watching``        metrics over HTTP, and the page for browsers
``web``             that page
``handlers``        one small handler for every request type that is published
``cache_handlers``  the same for types that are ours
``lease_handlers``  the same for leases
``registry``        what handlers are made of, and how they are found
``protocol``        checked access to the fields of a request
``buffers``         small buffers in the file, large ones in a folder
``promises``        buffers that will come; in memory only
``metrics``         what is counted
``batch``           the batch request: thousands of lookups or write-backs at once
``writing``         what a batch may bring, checked
``cutoffs``         the answer with many cutoffs, read in parts
``leases``          who computes what at this moment; in memory only
``database``        the open file: its connections
``schema``          its tables and version, and what files of other programs lack
``lanes``           coalesced reads, group commit
``regulars``        how long a commit waits for those who write one thing after the other
``checkpoints``     out of the write-ahead log when nobody writes
``near``            single reads on the event loop
``tables``          SQL on the tables of the published server
``cache_tables``    SQL on our own tables: buffers, entries
``recipe_tables``   SQL on our own tables: recipes, notes
``cutoff_tables``   SQL on our own tables: cutoffs
``cost_tables``     SQL on our own tables: costs
``batch_tables``    SQL of batches, over all tables
``at_once_tables``  SQL of single writes that are committed in one call
``maintenance``     copies of live files
``checking``        whether a file is whole
``row_rules``       what must be true of each row
``failures``        what can go wrong, and its HTTP status
==================  ==================================================================

HTTP stands in ``app``, ``front``, ``connections``, ``bodies``, ``buffer_routes`` and ``watching``;
SQL in ``schema.sql``, ``schema``, ``database``, ``lanes`` (transactions), ``checkpoints``,
``tables``, the modules whose names end in ``_tables``, ``maintenance`` and ``checking``; neither
elsewhere.
"""
