"""What `make docs` adds to the pages of docs/: figures, tables of results, files of the tree."""
