# bash supervise.sh FOLDER
#
# Runs programs until standard input ends, which it does when its writer closes it and also when its writer dies. Then kills
# all programs with all that they started, and removes FOLDER.
#
# Each line of standard input starts a program; its words are quoted for the shell:
#
#   ID STDOUT STDERR PROGRAM ARGUMENT...
#
# STDOUT and STDERR are files to append to, or - for file descriptor 3. Standard output says "ID started PID", and later
# "ID ended STATUS".

set -m # a process group for each background job; what a program starts stays in its group
folder=$1

run() {
  local id=$1 stdout=$2 stderr=$3 pid
  shift 3
  set +m # wait for the end of the program, not for its stop; and it is in the group of this shell
  if [[ $stdout == - ]]; then exec 4>&3; else exec 4>>"$stdout"; fi
  if [[ $stderr == - ]]; then exec 5>&3; else exec 5>>"$stderr"; fi
  "$@" </dev/null >&4 2>&5 3>&- 4>&- 5>&- &
  pid=$!
  exec 3>&- 4>&- 5>&-
  echo "$id started $pid"
  wait "$pid"
  echo "$id ended $?"
}

while IFS= read -r line; do
  eval "set -- $line"
  run "$@" 2>/dev/null &
done

exec >/dev/null 2>&1 3>&-
groups=$(jobs -rp)
for group in $groups; do kill -KILL -- "-$group"; done
wait
for group in $groups; do
  for ((i = 0; i < 100; i++)); do # ends at once, except where process 1 reaps no orphans
    kill -0 -- "-$group" || break
    sleep 0.1
  done
done
rm -rf "$folder"
