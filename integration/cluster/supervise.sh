# bash supervise.sh FOLDER PROGRAM ARGUMENTS...
#
# Runs PROGRAM until standard input ends, which it does when its writer closes it and also when its writer dies. Then kills
# PROGRAM with all that it started, and removes FOLDER.

set -m # a process group for each background job; vttestserver, mysqlctl, mysqld and vtcombo all stay in theirs
folder=$1
shift
{
  "$@"
  echo "supervise: the program ended with status $?"
} </dev/null &
group=$!
exec >/dev/null 2>&1 # so that the end of the output is the end of the group

read -r _
kill -KILL -- "-$group"
wait "$group"
for ((i = 0; i < 100; i++)); do # ends at once, except where process 1 reaps no orphans
  kill -0 -- "-$group" || break
  sleep 0.1
done
rm -rf "$folder"
