"""The command line. `main` is the door; each command is a file whose imports wait until it runs."""
