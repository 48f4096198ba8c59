"""
Changes on their way to the store. L{txgear.journal.journal} is what the broker and the server call: read it
first. Behind it are what is written, what is read, and the link to the store.
"""
