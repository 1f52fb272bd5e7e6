#!/bin/sh
# The broker the environment describes. Also found where the known images have the script that starts theirs.
exec /opt/ottla/bin/ottla container run "$@"
