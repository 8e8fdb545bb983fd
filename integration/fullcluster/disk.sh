# sh disk.sh FOLDER COMMAND...
#
# In a mount namespace: gives the data of the mysqld in FOLDER a file system of its own, with 64 MiB left, and executes COMMAND.
# What else is in FOLDER, such as the socket, others see.
set -e
cd "$1"
shift
data='data innodb bin-logs relay-logs'
mkdir -p disk
mount -t tmpfs -o size=$(($(du -cm $data | tail -n 1 | cut -f 1) + 64))m tmpfs disk
for folder in $data; do
  cp -R "$folder" disk
  mount --bind "disk/$folder" "$folder"
done
exec "$@"
