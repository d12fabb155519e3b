"""What `mmg-ray` can be told to do: a module a command or a few of a kind, imported when it is asked for."""
