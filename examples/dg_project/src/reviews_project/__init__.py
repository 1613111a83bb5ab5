"""An example of a project made with `dg`."""
