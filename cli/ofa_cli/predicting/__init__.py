"""Answering every row of a file, a folder or a stream: what is read, where answers go, how a run of them goes on."""
