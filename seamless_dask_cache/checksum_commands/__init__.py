"""The commands ``seamless-checksum``, ``seamless-checksum-file`` and ``seamless-checksum-index``.

A folder of their own beside `cli`, because `seamless-checksum` of a small file is to take little
longer than Python itself: what is needed for that imports next to nothing (`start`, `printing`,
`digests`, `terminal`, `lists`), and everything else is imported by those who need it.
"""
