"""The programme: a module for each sweep says which runs it has, and what its figure and its paragraph show."""
