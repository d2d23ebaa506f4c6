"""The bodies of the pipeline's stages, each a plain function of an entry's name and a command line.

They read params.yaml and work on the folders below data/ of the current directory.
"""
