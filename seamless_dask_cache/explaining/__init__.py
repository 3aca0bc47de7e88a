"""Explaining: what two recipes differ in, in words.

Pure: nothing here asks a database or a scheduler. `notes` says what the checksums in recipes stand
for, `differences` compares two recipes, `rendering` writes the outcome down.
"""
